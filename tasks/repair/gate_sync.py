"""Keep gates in step with PostgreSQL: update terms and units, and rebuild missing gates."""

from collections.abc import Iterable
from contextlib import suppress

from flashsale.core.lock import FencedLock, LockHeld
from flashsale.core.lock import forget as forget_locks
from flashsale.core.redis_client import gate_client
from inventory import selectors, services
from inventory.admission import gate
from inventory.admission.codes import EffectCode
from inventory.errors import NotEnoughStock, Paused
from inventory.models import Sale
from tasks.models import GateMend
from tasks.repair.rebuild import Why, rebuild_gates

_LOCK_TTL_MS = 30_000


def refresh_gates(items: Iterable[int] | None = None) -> None:
    """Update the gates' terms and rebuild missing gates. If ``items`` is None, also delete the gates of deleted items."""
    wanted = selectors.watched_items() if items is None else list(items)
    if items is None:
        _forget_deleted(wanted)
    present = gate.versions(wanted)
    current = selectors.gate_versions(wanted)
    missing = [item for item in wanted if present[item] is None]
    had_one = set(GateMend.objects.filter(item_id__in=missing).values_list("item_id", flat=True)) if missing else set()
    lost, first = Why("gate missing, incomplete, or its rebuild was interrupted"), Why("first gate of the item")
    rebuild_gates(missing, {item: lost if item in had_one else first for item in missing})
    for item in wanted:
        if present[item] not in (None, current.get(item)):
            with suppress(LockHeld):
                _configure(item)


def _forget_deleted(watched: Iterable[int]) -> None:
    """Delete gates without an item. Gates are read before rows, because the row of an item is created before its gate."""
    suspects = set(gate.remembered()) - set(watched)
    if suspects:
        forget_gates(suspects - selectors.existing_items(suspects))


def _configure(item: int) -> None:
    with FencedLock(gate_client(), f"terms:{item}", ttl_ms=_LOCK_TTL_MS, wait_ms=2_000):
        _bring_terms(item)


def _bring_terms(item: int) -> None:
    """Update the gate's terms. A gate that is missing or changes meanwhile is left to the next sweep."""
    seen = gate.versions([item])[item]
    current = selectors.gate_versions([item]).get(item)
    if seen is None or current is None:
        return
    if current[1] > seen[1]:
        services.touch_gate([item])  # this may put withheld units back on sale: see ``adjust_stock``
    for terms in selectors.terms([item]):
        gate.configure(terms, seen)


def forget_gates(items: Iterable[int]) -> None:
    """Delete all Redis keys of these items, including their lock counters. May run twice."""
    gone = list(items)
    gate.forget(gone)
    forget_locks(gate_client(), [f"{kind}:{item}" for item in gone for kind in ("rebuild", "terms")])


def set_state(slug: str, state: Sale.State) -> None:
    """Open, pause or end a sale, first in PostgreSQL, then in the gate.

    Raises:
        UnknownSale: the sale does not exist.
        Ended: the sale has ended and cannot be opened or paused.
        Unavailable: saved in PostgreSQL; a sweep updates Redis within a second.
    """
    refresh_gates(services.set_sale_state(slug=slug, state=state))


def adjust_stock(item: int, units: int, *, actor: str, reason: str) -> None:
    """Add or remove units. Units to remove are first withheld in the gate, so that no order can get them.

    Putting withheld units back on sale increments the version of the terms. So PostgreSQL refuses the removal if this process
    was stopped between the two steps for longer than the lock's TTL.

    Raises:
        NotEnoughStock: fewer units are available than are to be removed.
        Paused: the gate is being rebuilt.
        LockHeld, TermsChanged: another process changes this item's terms.
    """
    with FencedLock(gate_client(), f"terms:{item}", ttl_ms=_LOCK_TTL_MS, wait_ms=2_000):
        version, _ = selectors.gate_versions([item])[item]
        if units < 0:
            code = gate.withhold(item, -units)
            if code is EffectCode.TOO_FEW:
                raise NotEnoughStock(item=item)
            if code is not EffectCode.DONE:
                raise Paused(item=item)
        try:
            services.adjust_stock(item_id=item, units=units, actor=actor, reason=reason, gate_version=version)
        finally:
            _bring_terms(item)
