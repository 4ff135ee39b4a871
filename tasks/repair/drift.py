"""Compare gate and ledger, report the likely cause of a difference, and repair the gate."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from inventory import selectors
from inventory.admission import gate
from orders import holds
from tasks.repair.rebuild import LedgerSide, Why, ledger_side, rebuild_gate, streamed_orders

_READINGS = 5


class Pair(NamedTuple):
    """A count of the gate and of the ledger. ``gate`` is None if the gate is missing."""

    name: str
    gate: int | None
    ledger: int


@dataclass(frozen=True, slots=True)
class Drift:
    """Comparison of gate and ledger for one item. ``in_flight``: orders and effects that may explain a difference.

    ``is_exact``: the gate did not change while it was read. Otherwise a difference may be momentary.
    """

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
    is_rebuilding: bool
    gate_version: int
    ledger_version: int
    unknown_holds: int
    missing_holds: int
    miscounted_buyers: int
    untold_effects: int
    is_exact: bool
    wrong_terms: tuple[str, ...] = ()

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The counts that should be equal."""
        return (
            Pair("stock", self.gate_stock, self.ledger_stock),
            Pair("held", self.gate_held, self.ledger_held),
            Pair("sold", self.gate_sold, self.ledger_sold),
        )

    @property
    def gate_total(self) -> int | None:
        """The gate's stock, held and sold units together. None if the gate is missing."""
        return None if self.gate_stock is None else self.gate_stock + self.gate_held + self.gate_sold

    @property
    def differs(self) -> bool:
        """Whether the gate is missing or differs from the ledger in any value."""
        counts = (self.gate_stock, self.gate_held, self.gate_sold) != (self.ledger_stock, self.ledger_held, self.ledger_sold)
        return counts or bool(self.unknown_holds or self.missing_holds or self.miscounted_buyers)

    @property
    def is_drift(self) -> bool:
        """Whether the gate is missing, differs with nothing in flight, or has other terms with the same version."""
        is_explained = self.in_flight or not self.is_exact
        return self.gate_stock is None or (self.differs and not is_explained) or bool(self.wrong_terms)

    @property
    def causes(self) -> list[str]:
        """Likely causes of the difference. Empty if there is none."""
        if self.gate_stock is None:
            half = "a rebuild is running or was interrupted" if self.is_rebuilding else ""
            return [half or "gate missing: Redis lost it, or it was not created yet"]
        surplus = self.gate_stock - self.ledger_stock
        old_terms = self.gate_version != self.ledger_version
        said = (
            (old_terms, f"gate has terms version {self.gate_version}, PostgreSQL has {self.ledger_version}"),
            (self.wrong_terms, f"gate has wrong terms: {', '.join(self.wrong_terms)}"),
            (surplus > 0, f"gate has {surplus} units more than PostgreSQL"),
            (surplus < 0, f"gate has {-surplus} units fewer than PostgreSQL"),
            (self.unknown_holds, f"holds without an order: {self.unknown_holds}"),
            (self.missing_holds, f"orders without a hold: {self.missing_holds}"),
            (self.miscounted_buyers, f"customers with different unit counts: {self.miscounted_buyers}"),
            (self.untold_effects, f"effects not applied yet: {self.untold_effects}"),
            (self.differs and not self.is_exact, "may be explained by orders that moved while the gate was read"),
            (self.differs and self.in_flight, f"may be explained by {self.in_flight} orders and effects in flight"),
        )
        return [sentence for holds_true, sentence in said if holds_true]

    @property
    def why(self) -> str:
        """The causes as one text."""
        return "; ".join(self.causes)


@dataclass(frozen=True, slots=True)
class _Reading:
    """The ledger's values of one item."""

    side: LedgerSide
    holds: holds.Holds
    stock: int
    sold: int
    effects: int

    def counts(self) -> tuple[object, ...]:
        return self.stock, self.sold, self.holds


def _read(item: int) -> _Reading:
    with ledger_side([item], streamed_orders([item])) as side:
        found = holds.holds_of(item, side.only_streamed)
        effects = holds.in_flight([item]).get(item, holds.InFlight()).effects
    return _Reading(side, found, side.stock[item], side.sold[item], effects)


def drift(item: int) -> Drift:
    """Compare the gate with the ledger. The gate is read between two ledger reads, which should be equal."""
    view = _read(item)
    for _ in range(_READINGS):
        before, seen = view, gate.snapshot(item)
        view = _read(item)
        if before.counts() == view.counts():
            break
    held: dict[UUID, tuple[int, int]] = seen.held if seen else {}
    buyers = seen.buyers if seen else {}
    customers = buyers.keys() | view.holds.buyers.keys()
    terms = view.side.terms[item]
    return Drift(
        item=item,
        sku=terms.sku,
        gate_stock=seen.stock if seen and not seen.rebuilding else None,
        ledger_stock=view.stock,
        gate_held=sum(units for _, units in held.values()),
        ledger_held=sum(units for _, units in view.holds.held.values()),
        gate_sold=seen.sold if seen else 0,
        ledger_sold=view.sold,
        in_flight=max(view.side.in_flight[item], before.side.in_flight[item]),
        gate_allocated=seen.allocated if seen else 0,
        is_rebuilding=seen.rebuilding if seen else gate.is_rebuilding(item),
        gate_version=seen.version if seen else 0,
        ledger_version=terms.version,
        unknown_holds=len(held.keys() - view.holds.held.keys()),
        missing_holds=len(view.holds.held.keys() - held.keys()),
        miscounted_buyers=sum(buyers.get(customer, 0) != view.holds.buyers.get(customer, 0) for customer in customers),
        untold_effects=view.effects,
        is_exact=seen is None or seen.is_exact,
        wrong_terms=tuple(gate.wrong_terms(terms)),
    )


def in_flight(items: Sequence[int]) -> int:
    """Number of orders and effects in flight. 0 only if there are none."""
    waiting = sum(sum(counts) for counts in gate.waiting(items).values())
    return waiting + sum(between.intake + between.effects for between in holds.in_flight(items).values())


def drifts(slug: str | None = None) -> list[Drift]:
    """Compare all items of a sale, or of all sales. Read-only."""
    return [drift(item) for item in selectors.items_of_sale(slug)]


def mend(found: Drift, actor: str) -> None:
    """Rebuild the gate of this item and record the repair. Safe during a sale: a rebuild takes orders in flight into account.

    Raises:
        LockHeld, Unavailable: the gate was not rebuilt.
    """
    missing = found.gate_stock is None
    before = (None, None, None) if missing else (found.gate_stock, found.gate_held, found.gate_sold)
    rebuild_gate(found.item, why=Why(found.why or "asked for", actor, *before), wait_ms=5_000)
