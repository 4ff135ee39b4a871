"""Keeps the gate in step with the ledger: terms, units, and the whole gate when it is gone."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from django.db import connection, transaction

from flashsale.core.lock import FencedLock, LockHeld
from flashsale.core.lock import forget as forget_locks
from flashsale.core.redis_client import gate_client
from inventory import selectors, services
from inventory.admission import gate
from inventory.admission.admitted import ItemTerms
from inventory.admission.codes import EffectCode
from inventory.errors import NotEnoughStock, Paused
from inventory.models import Sale, SaleItem
from orders import selectors as orders

logger = logging.getLogger(__name__)
_LOCK_TTL_MS = 30_000


@dataclass(frozen=True, slots=True)
class LedgerView:
    """What the gate of an item should hold, by the ledger and the stream."""

    terms: ItemTerms
    stock: int
    sold: int
    holds: orders.Holds
    in_flight: int


def ledger_view(item: int) -> LedgerView:
    """Reads the stream first and the ledger after it: an order that moves meanwhile is then found in the ledger."""
    streamed = {order.id: order for order in gate.stream_orders(item)}
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        terms = selectors.terms([item])[0]
        row = SaleItem.objects.get(pk=item)
        known = orders.known_ids(streamed)
        holds = orders.holds_of(item)
        effects = orders.pending_effect_count(item)
    only_streamed = [order for pk, order in streamed.items() if pk not in known]
    for order in only_streamed:
        holds.add(order.id, order.customer, order.units)
    stock = row.available - sum(order.units for order in only_streamed)
    return LedgerView(terms, stock, row.sold, holds, len(streamed) + effects + holds.in_intake)


def rebuild_gate(item: int, *, wait_ms: int = 0) -> None:
    """Make the item's gate anew from the ledger and what is left of the stream; the sale answers ``paused`` meanwhile.

    Raises:
        LockHeld: another process is at it.
        GateUnavailable: Redis is away.
    """
    with FencedLock(gate_client(), f"rebuild:{item}", ttl_ms=_LOCK_TTL_MS, wait_ms=wait_ms) as fence:
        if gate.begin_rebuild(item, fence) is not EffectCode.DONE:
            return
        view = ledger_view(item)
        gate.open_gate(
            view.terms, fence=fence, stock=view.stock, sold=view.sold, held=view.holds.held, buyers=view.holds.buyers
        )
    logger.info("gate rebuilt", extra={"event": "gate_rebuilt", "item": item, "stock": view.stock})


def refresh_gates(items: Iterable[int] | None = None) -> None:
    """Bring new terms to the gates, and make those that are missing."""
    wanted = selectors.watched_items() if items is None else list(items)
    present = gate.versions(wanted)
    current = selectors.gate_versions(wanted)
    for item in wanted:
        seen = present.get(item)
        try:
            if seen is None:
                rebuild_gate(item)
            elif seen != current.get(item):
                _configure(item)
        except LockHeld:
            continue


def _configure(item: int) -> None:
    with FencedLock(gate_client(), f"terms:{item}", ttl_ms=_LOCK_TTL_MS, wait_ms=2_000):
        for terms in selectors.terms([item]):
            if gate.configure(terms) is EffectCode.GATE_MISSING:
                rebuild_gate(item)


def forget_gates(items: Iterable[int]) -> None:
    """Delete what Redis keeps of items whose sale is over, their locks' counters included. May run twice."""
    gone = list(items)
    gate.forget(gone)
    forget_locks(gate_client(), [f"{kind}:{item}" for item in gone for kind in ("rebuild", "terms")])


def set_state(slug: str, state: Sale.State) -> None:
    """Open, pause or end a sale, in the ledger and then at the gate.

    Raises:
        UnknownSale: no such sale.
        GateUnavailable: the ledger has it, the gate will learn it from a sweep.
    """
    refresh_gates(services.set_sale_state(slug=slug, state=state))


def adjust_stock(item: int, units: int, *, actor: str, reason: str) -> None:
    """Add units or take them away. To take away, the gate gives them up first, so nobody can be promised them.

    Raises:
        NotEnoughStock: fewer units are free than to be taken away.
        Paused: the gate is being rebuilt.
        LockHeld: somebody else changes this item's terms.
    """
    with FencedLock(gate_client(), f"terms:{item}", ttl_ms=_LOCK_TTL_MS, wait_ms=2_000):
        if units < 0:
            code = gate.withhold(item, -units)
            if code is EffectCode.TOO_FEW:
                raise NotEnoughStock(item=item)
            if code is not EffectCode.DONE:
                raise Paused(item=item)
        try:
            services.adjust_stock(item_id=item, units=units, actor=actor, reason=reason)
        finally:
            for terms in selectors.terms([item]):
                gate.configure(terms)


@dataclass(frozen=True, slots=True)
class Drift:
    """Gate against ledger, for one item. ``in_flight``: orders and effects between the two, which explain a difference."""

    item: int
    sku: str
    gate_stock: int | None
    ledger_stock: int
    gate_held: int
    ledger_held: int
    gate_sold: int
    ledger_sold: int
    in_flight: int
    gate_allocated: int

    @property
    def gate_total(self) -> int | None:
        """What the gate accounts for, None when it is missing."""
        return None if self.gate_stock is None else self.gate_stock + self.gate_held + self.gate_sold

    @property
    def is_drift(self) -> bool:
        """The gate is missing, or differs although nothing is on its way."""
        if self.gate_stock is None:
            return True
        differs = (self.gate_stock, self.gate_held, self.gate_sold) != (
            self.ledger_stock,
            self.ledger_held,
            self.ledger_sold,
        )
        return differs and not self.in_flight


def drift(item: int) -> Drift:
    """Compare the gate with the ledger, between two equal readings of the ledger where there are any."""
    for _ in range(5):
        before = ledger_view(item)
        seen = gate.snapshot(item)
        view = ledger_view(item)
        if (before.stock, before.sold, before.holds) == (view.stock, view.sold, view.holds):
            break
    return Drift(
        item=item,
        sku=view.terms.sku,
        gate_stock=seen.stock if seen else None,
        ledger_stock=view.stock,
        gate_held=sum(units for _, units in seen.held.values()) if seen else 0,
        ledger_held=sum(units for _, units in view.holds.held.values()),
        gate_sold=seen.sold if seen else 0,
        ledger_sold=view.sold,
        in_flight=max(view.in_flight, before.in_flight),
        gate_allocated=seen.allocated if seen else 0,
    )


def reconcile(slug: str | None = None, *, dry_run: bool = False) -> list[Drift]:
    """Rebuild the gates that differ from the ledger; what was found before. May run twice."""
    found = [drift(item) for item in selectors.items_of_sale(slug)]
    for one in found:
        if one.is_drift and not dry_run:
            rebuild_gate(one.item, wait_ms=5_000)
    return found
