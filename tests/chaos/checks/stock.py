"""Units: none sold twice, none vanished, nobody with more than they may have."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from tests.chaos.evidence import BOUGHT, HOLDING, POISONED, Evidence
from tests.chaos.rows import Gate, Item, Movement


def nothing_is_oversold(evidence: Evidence) -> Iterator[str]:
    """At no moment are more units promised by the ledger than were allocated, and no column is below zero."""
    for item in evidence.books.items:
        if min(item.available, item.reserved, item.sold) < 0 or item.sold > item.allocated:
            yield f"item {item.id}: allocated {item.allocated}, available {item.available}, sold {item.sold}"
    for (item_id, _), steps in _steps(evidence, "reserved", by_customer=False).items():
        at, units = _peak(steps)
        if units > _most_allocated(evidence, item_id):
            yield f"item {item_id}: {units} units promised at {at:.3f}, {_most_allocated(evidence, item_id)} allocated"


def nobody_is_over_the_limit(evidence: Evidence) -> Iterator[str]:
    """At no moment does a customer order more units of an item, with those they have, than one customer may at that moment.

    A gate that lost its disk has forgotten what they had; then the ledger rejects what is too much.
    """
    for (item_id, customer), steps in _steps(evidence, "queued", by_customer=True).items():
        units = 0
        for step in sorted(steps):
            units += step.units
            if step.units > 0 and units > step.limit:
                yield f"customer {customer} had {units} units of item {item_id} at {step.at:.3f}, allowed {step.limit}"
                break


class _Step(NamedTuple):
    """Units that are promised at a moment, or given back; sorted, what is given back at the same moment goes first."""

    at: float
    units: int
    limit: int


def _steps(evidence: Evidence, first: str, *, by_customer: bool) -> dict[tuple[int, int], list[_Step]]:
    """(item, customer or 0) -> what was held or bought from state ``first`` on."""
    steps: dict[tuple[int, int], list[_Step]] = defaultdict(list)
    for order in evidence.books.orders:
        if evidence.books.losses and order.status == "rejected":
            continue
        key = order.item, order.customer if by_customer else 0
        limit = evidence.terms(order.item, order.limit).per_customer
        for event in evidence.events.get(order.id, []):
            if event.status == first:
                steps[key].append(_Step(event.at, order.units, limit))
            elif event.status in ("cancelled", "rejected") and (first == "queued" or event.status == "cancelled"):
                steps[key].append(_Step(event.at, -order.units, limit))
    return steps


def _peak(steps: list[_Step]) -> tuple[float, int]:
    """When most units were promised, and how many."""
    units, most = 0, (0.0, 0)
    for step in sorted(steps):
        units += step.units
        most = max(most, (step.at, units), key=lambda peak: peak[1])
    return most


def _most_allocated(evidence: Evidence, item: int) -> int:
    total = most = 0
    for line in evidence.books.movements:
        if line.item == item and line.kind in ("allocate", "adjust"):
            total += line.units
            most = max(most, total)
    return most


def ledger_adds_up(evidence: Evidence) -> Iterator[str]:
    """allocated = available + reserved + sold, and the columns are the sums of the movements."""
    sums: dict[int, Counter[str]] = defaultdict(Counter)
    for line in evidence.books.movements:
        sums[line.item][line.kind] += line.units
    for item in evidence.books.items:
        if item.allocated != item.available + item.reserved + item.sold:
            yield f"item {item.id}: {item.allocated} allocated, {item.available} + {item.reserved} + {item.sold} found"
        kinds = sums[item.id]
        expected = (
            kinds["allocate"] + kinds["adjust"],
            kinds["reserve"] - kinds["release"] - kinds["sell"],
            kinds["sell"],
        )
        if (item.allocated, item.reserved, item.sold) != expected:
            yield f"item {item.id}: columns {item.allocated}/{item.reserved}/{item.sold}, movements {expected}"


def movements_are_those_of_the_orders(evidence: Evidence) -> Iterator[str]:
    """Every order has exactly the movements that its state calls for, of its units, and nothing else moves units."""
    found: dict[str, list[Movement]] = defaultdict(list)
    for line in evidence.books.movements:
        if line.order is not None:
            found[line.order].append(line)
    for order in evidence.books.orders:
        kinds = sorted(line.kind for line in found.get(order.id, []))
        if kinds not in _movements_of(order.status, order.reason):
            yield f"order {order.id} is {order.status}: its movements are {kinds}"
    for intake in evidence.books.intake:
        kinds = sorted(line.kind for line in found.get(intake.id, []))
        if kinds not in _movements_in_intake(intake.reason):
            yield f"order {intake.id} is in the intake: its movements are {kinds}"
    for order_id, lines in found.items():
        row = evidence.orders.get(order_id) or evidence.intake.get(order_id)
        if row is None:
            yield f"order {order_id} does not exist, and has {', '.join(line.kind for line in lines)}"
        elif any((line.units, line.item) != (row.units or line.units, row.item) for line in lines):  # 0: written off
            moved = [f"{line.kind} {line.units} of item {line.item}" for line in lines]
            yield f"order {order_id} of {row.units} units of item {row.item}: {', '.join(moved)}"


def _movements_in_intake(reason: str) -> list[list[str]]:
    if reason == POISONED:
        return [[], ["release", "reserve"]]
    return [[]] if reason else [["reserve"]]


def _movements_of(status: str, reason: str) -> list[list[str]]:
    if status == "rejected":
        return [[]] if reason == "sold_out" else [[], ["release", "reserve"]]
    if status == "cancelled":
        return [["release", "reserve"]]
    return [["reserve", "sell"]] if status in BOUGHT else [["reserve"]]


def gate_adds_up(evidence: Evidence) -> Iterator[str]:
    """stock + held + sold = allocated at every gate."""
    for gate in evidence.books.gates:
        held = sum(units for _, units in gate.held.values())
        if gate.is_open and gate.stock + held + gate.sold != gate.allocated:
            yield f"item {gate.item}: stock {gate.stock} + held {held} + sold {gate.sold}, allocated {gate.allocated}"


def gate_equals_ledger(evidence: Evidence) -> Iterator[str]:
    """Stock, holds, sales and buyers are the same in the gate and in the ledger, and the gate is there."""
    for item in evidence.books.items:
        gate = evidence.gates.get(item.id)
        if gate is None or not gate.is_open:
            yield f"item {item.id}: the gate is missing"
        else:
            yield from _differences(evidence, item, gate)


def _differences(evidence: Evidence, item: Item, gate: Gate) -> Iterator[str]:
    held, buyers = _holds(evidence, item.id)
    for order, hold in gate.held.items():
        if evidence.waits_for_staff(order) and order not in held:  # the ledger could not take it; its hold waits for people
            held[order] = hold
            buyers[hold[0]] += hold[1]
            item = _less_available(item, hold[1])
    seen = (gate.allocated, gate.stock, gate.sold)
    if seen != (item.allocated, item.available, item.sold):
        yield f"item {item.id}: allocated, stock, sold {seen}, ledger {(item.allocated, item.available, item.sold)}"
    for order in sorted(gate.held.keys() | held.keys()):
        if gate.held.get(order) != held.get(order):
            yield f"order {order}: the gate holds {gate.held.get(order)}, the ledger {held.get(order)}"
    for customer in sorted(gate.buyers.keys() | buyers.keys()):
        if gate.buyers.get(customer, 0) != buyers[customer]:
            yield f"customer {customer}: {gate.buyers.get(customer, 0)} units at the gate, {buyers[customer]} in the ledger"


def _less_available(item: Item, units: int) -> Item:
    return Item(
        *(item.id, item.sku, item.price, item.currency, item.per_customer),
        *(item.allocated, item.available - units, item.reserved, item.sold),
    )


def _holds(evidence: Evidence, item: int) -> tuple[dict[str, tuple[int, int]], Counter[int]]:
    held: dict[str, tuple[int, int]] = {}
    buyers: Counter[int] = Counter()
    for order in evidence.books.orders:
        if order.item == item and order.status in HOLDING | BOUGHT:
            buyers[order.customer] += order.units
            if order.status in HOLDING:
                held[order.id] = order.customer, order.units
    for intake in evidence.books.intake:
        if intake.item == item and not intake.reason:
            buyers[intake.customer] += intake.units
            held[intake.id] = intake.customer, intake.units
    return held, buyers
