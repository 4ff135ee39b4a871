"""Keeps the gate in step with the ledger: terms, units, and the whole gates when they are gone."""

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
from tasks.rebuild import Why, rebuild_gates

_LOCK_TTL_MS = 30_000


def refresh_gates(items: Iterable[int] | None = None) -> None:
    """Bring new terms to the gates, make those that are missing, and with all of them, delete those of deleted items."""
    wanted = selectors.watched_items() if items is None else list(items)
    if items is None:
        _forget_deleted(wanted)
    present = gate.versions(wanted)
    current = selectors.gate_versions(wanted)
    missing = [item for item in wanted if present[item] is None]
    had_one = set(GateMend.objects.filter(item_id__in=missing).values_list("item_id", flat=True)) if missing else set()
    lost, first = Why("gate missing, incomplete, or left half rebuilt"), Why("first gate of the item")
    rebuild_gates(missing, {item: lost if item in had_one else first for item in missing})
    for item in wanted:
        if present[item] not in (None, current.get(item)):
            with suppress(LockHeld):
                _configure(item)


def _forget_deleted(watched: Iterable[int]) -> None:
    """Whoever deleted the item may have died since. The gates are read before the rows: of one there was a row before."""
    suspects = set(gate.remembered()) - set(watched)
    if suspects:
        forget_gates(suspects - selectors.existing_items(suspects))


def _configure(item: int) -> None:
    with FencedLock(gate_client(), f"terms:{item}", ttl_ms=_LOCK_TTL_MS, wait_ms=2_000):
        _bring_terms(item)


def _bring_terms(item: int) -> None:
    """A gate that is missing, or changes meanwhile, is left to the next sweep."""
    seen = gate.versions([item])[item]
    current = selectors.gate_versions([item]).get(item)
    if seen is None or current is None:
        return
    if current[1] > seen[1]:
        services.touch_gate([item])  # units may come back that somebody withholds: see ``adjust_stock``
    for terms in selectors.terms([item]):
        gate.configure(terms, seen)


def forget_gates(items: Iterable[int]) -> None:
    """Delete what Redis keeps of items whose sale is over, their locks' counters included. May run twice."""
    gone = list(items)
    gate.forget(gone)
    forget_locks(gate_client(), [f"{kind}:{item}" for item in gone for kind in ("rebuild", "terms")])


def set_state(slug: str, state: Sale.State) -> None:
    """Open, pause or end a sale, in the ledger and then at the gate.

    Raises:
        UnknownSale: no such sale.
        Ended: it is over, and was to be opened or paused.
        Unavailable: the ledger has it, the gate will learn it from a sweep.
    """
    refresh_gates(services.set_sale_state(slug=slug, state=state))


def adjust_stock(item: int, units: int, *, actor: str, reason: str) -> None:
    """Add units or take them away. To take away, the gate gives them up first, so nobody can be promised them.

    Whoever puts units back on sale raises the version of the terms first. So the ledger refuses the change of somebody who
    was stopped between the two past the lock's life.

    Raises:
        NotEnoughStock: fewer units are free than to be taken away.
        Paused: the gate is being rebuilt.
        LockHeld, TermsChanged: somebody else changes this item's terms.
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
