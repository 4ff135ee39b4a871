"""Orders that the ledger cannot take: each comes to its end alone, whatever else goes wrong."""

from collections.abc import Iterator

from tests.chaos.evidence import LOST, POISONED, Evidence


def poisoned_orders_have_an_end(evidence: Evidence) -> Iterator[str]:
    """An order that cannot be a row is rejected and has no units, or stands in an open dead letter of its own; never both."""
    for order in sorted(evidence.poison):
        row = evidence.intake.get(order) or evidence.orders.get(order)
        is_over = row is not None and row.reason in (LOST, POISONED) and row.units == 0
        if is_over and evidence.waits_for_staff(order):
            yield f"order {order} is over, and a dead letter is open for it"
        if not is_over and not evidence.waits_for_staff(order):
            where = "no book" if row is None else f"the books ({getattr(row, 'status', 'intake')}, {row.reason or 'no reason'})"
            yield f"order {order} cannot be a row; it is in no dead letter and in {where}"


def dead_letters_hold_one_order(evidence: Evidence) -> Iterator[str]:
    """A dead letter keeps back the one order that cannot be helped, and no other."""
    for letter in evidence.books.letters:
        others = [order for order in (*evidence.orders, *evidence.acknowledged) if order in letter.args]
        kept = sorted({order for order in others if not evidence.is_poison(order)})
        if kept:
            yield f"dead letter {letter.id}: {letter.task} holds {', '.join(kept)}"


def poisoned_orders_are_told_of(evidence: Evidence) -> Iterator[str]:
    """The customer of an order that is rejected as poisoned is told so when they ask last."""
    for order in sorted(evidence.poison):
        row = evidence.intake.get(order) or evidence.orders.get(order)
        reads = [op for op in evidence.about.get(order, []) if op.kind == "read" and op.result != "unknown"]
        if row is None or row.reason != POISONED or not reads:
            continue
        last = reads[-1].answer or {}
        if (last.get("status"), last.get("reason")) != ("rejected", POISONED):
            yield f"order {order} is rejected as poisoned, its customer {row.customer} was last told {last}"
