"""Compares gate and ledger, says what is likely the cause of a difference, and mends it. Reported before it is mended."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from inventory import selectors
from inventory.admission import gate
from orders import holds
from tasks.rebuild import LedgerSide, Why, ledger_side, rebuild_gate, streamed_orders

_READINGS = 5


@dataclass(frozen=True, slots=True)
class Drift:
    """Gate against ledger, for one item. ``in_flight``: orders and effects between the two, which explain a difference.

    ``is_exact``: the gate stood still while it was read; else a difference may be one of moments.
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
    def pairs(self) -> tuple[tuple[str, int | None, int], ...]:
        """Name, the gate's count, the ledger's."""
        return (
            ("stock", self.gate_stock, self.ledger_stock),
            ("held", self.gate_held, self.ledger_held),
            ("sold", self.gate_sold, self.ledger_sold),
        )

    @property
    def gate_total(self) -> int | None:
        """What the gate accounts for, None when it is missing."""
        return None if self.gate_stock is None else self.gate_stock + self.gate_held + self.gate_sold

    @property
    def differs(self) -> bool:
        """The gate is missing, or has anything else than the ledger."""
        counts = (self.gate_stock, self.gate_held, self.gate_sold) != (self.ledger_stock, self.ledger_held, self.ledger_sold)
        return counts or bool(self.unknown_holds or self.missing_holds or self.miscounted_buyers)

    @property
    def is_drift(self) -> bool:
        """The gate is missing, differs although nothing is on its way, or has other terms under the ledger's version."""
        is_explained = self.in_flight or not self.is_exact
        return self.gate_stock is None or (self.differs and not is_explained) or bool(self.wrong_terms)

    @property
    def causes(self) -> list[str]:
        """What likely made the difference; empty when there is none."""
        if self.gate_stock is None:
            half = "a rebuild is under way or was left half-done" if self.is_rebuilding else ""
            return [half or "gate missing: Redis has lost it, or nobody has made it yet"]
        surplus = self.gate_stock - self.ledger_stock
        old_terms = self.gate_version != self.ledger_version
        said = (
            (old_terms, f"gate has terms of version {self.gate_version}, ledger {self.ledger_version}"),
            (self.wrong_terms, f"gate has terms that are not the ledger's: {', '.join(self.wrong_terms)}"),
            (surplus > 0, f"gate promises {surplus} units more than the ledger has"),
            (surplus < 0, f"{-surplus} units of the ledger are not on sale at the gate"),
            (self.unknown_holds, f"holds without an order: {self.unknown_holds}"),
            (self.missing_holds, f"ledger's holds that the gate does not know: {self.missing_holds}"),
            (self.miscounted_buyers, f"customers whose units are counted differently: {self.miscounted_buyers}"),
            (self.untold_effects, f"effects not applied yet: {self.untold_effects}"),
            (self.differs and not self.is_exact, "may be explained by the orders that moved while the gate was read"),
            (self.differs and self.in_flight, f"may be explained by {self.in_flight} orders and effects in flight"),
        )
        return [sentence for holds_true, sentence in said if holds_true]

    @property
    def why(self) -> str:
        """The causes as one sentence."""
        return "; ".join(self.causes)


@dataclass(frozen=True, slots=True)
class _Reading:
    """The ledger's side of one item."""

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
    """Compare the gate with the ledger, between two equal readings of the ledger where there are any."""
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
    """How many orders and effects are between gate and ledger, by counts alone; 0 only if there are none."""
    waiting = sum(sum(counts) for counts in gate.waiting(items).values())
    return waiting + sum(between.intake + between.effects for between in holds.in_flight(items).values())


def drifts(slug: str | None = None) -> list[Drift]:
    """Every item of a sale, or of all; reads only."""
    return [drift(item) for item in selectors.items_of_sale(slug)]


def mend(found: Drift, actor: str) -> None:
    """Rebuild the gate of this item; the history gets what was found. May run while the sale runs: a rebuild takes what is
    in flight into account, no number of the ledger is copied over the gate's without it.

    Raises:
        LockHeld, Unavailable: it was not rebuilt.
    """
    missing = found.gate_stock is None
    before = (None, None, None) if missing else (found.gate_stock, found.gate_held, found.gate_sold)
    rebuild_gate(found.item, why=Why(found.why or "asked for", actor, *before), wait_ms=5_000)
