"""What a gate's disk may take with it: orders that were admitted and not yet deducted, and nothing else."""

from collections.abc import Iterator

from tests.chaos.evidence import LOST, Evidence
from tests.chaos.rows import Intake, Order

# An order waits in the stream for the dispatcher. One that was acknowledged longer ago than this was late for another reason.
_LAG_S = 30.0


def only_a_lost_disk_loses_orders(evidence: Evidence) -> Iterator[str]:
    """An order is lost only if a gate's disk went while it stood in the gate's stream, at most 30 s after its 202."""
    for order in evidence.taken:
        if order.reason == LOST and not _went_with_a_disk(evidence, order):
            yield f"order {order.id} of customer {order.customer} is lost, and no disk took it"


def _went_with_a_disk(evidence: Evidence, order: Order | Intake) -> bool:
    told = evidence.acknowledged.get(order.id)
    return told is not None and any(
        order.id in loss.waiting and told.invoked_at <= loss.at <= (told.completed_at or loss.at) + _LAG_S
        for loss in evidence.books.losses
    )


def lost_orders_have_an_end(evidence: Evidence) -> Iterator[str]:
    """A lost order is rejected and has no units, and that is the last that its customer was told when they asked."""
    for order in evidence.taken:
        if order.reason != LOST:
            continue
        status = order.status if isinstance(order, Order) else "rejected"
        if (status, order.units) != ("rejected", 0):
            yield f"order {order.id} is lost, and {status} with {order.units} units"
        reads = [op for op in evidence.about.get(order.id, []) if op.kind == "read" and op.result != "unknown"]
        last = (reads[-1].answer or {}) if reads else {}
        if (last.get("status"), last.get("reason")) != ("rejected", LOST):
            yield f"order {order.id} is lost, its customer {order.customer} was last told {last or 'nothing'}"
