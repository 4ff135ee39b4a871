"""Answers: what a client was told is true, stays true, and is told to everybody who asks the same."""

from collections.abc import Iterator

from tests.chaos.evidence import SEQ_TAKEN, Evidence, digest_of, grouped, reachable
from tests.chaos.history import Operation
from tests.chaos.rows import Order

# These say "not now": they may come before anybody has looked whether the request was seen before.
_FOR_A_MOMENT = frozenset({"rate_limited", "busy", "paused", "not_authenticated"})


def _is_final(operation: Operation) -> bool:
    return operation.result == "refused" and (operation.answer or {}).get("code") not in _FOR_A_MOMENT


def same_request_same_answer(evidence: Evidence) -> Iterator[str]:
    """Whoever sends a request again is told the same order, for ever, and never that it is refused.

    But for an order that stood in the gate's stream when its disk was lost, or that was poison: its receipt and its token went
    with the disk, and the ledger does not know its (source, seq).
    """
    for pair, operations in evidence.placed.items():
        requests = grouped((f"customer {op.customer} {digest_of(op.request)}", op) for op in operations)
        for request, repeated in requests.items():
            told = [op for op in repeated if op.result == "ok"]
            orders = sorted({str(op.order_id) for op in told})
            if len(orders) > 1:
                yield f"{pair} by {request.rpartition(' ')[0]} was answered with the orders {', '.join(orders)}"
            for later in repeated:
                before = [op for op in told if op.completed_at < later.invoked_at]
                if before and _is_final(later) and not _went_with_the_gate(evidence, before[0], later):
                    yield f"{pair} by {request.rpartition(' ')[0]} is order {orders[0]}, and was refused: {later.answer}"


def _went_with_the_gate(evidence: Evidence, told: Operation, later: Operation) -> bool:
    is_poison = evidence.is_poison(str(told.order_id))
    return any(is_poison or told.order_id in loss.waiting for loss in evidence.lost_between(told, later))


def other_requests_are_refused(evidence: Evidence) -> Iterator[str]:
    """Another body under a (source, seq) is a mismatch, another customer's is taken; neither is told an order.

    A gate that lost its disk has forgotten what was asked before, and may refuse it for another reason; the ledger has not,
    but what it repeats is no news to the gate.
    """
    for pair, operations in evidence.placed.items():
        told = [op for op in operations if op.result == "ok" and not _clashed(evidence, op)]
        for first in told:
            for other in operations:
                if (first.customer, digest_of(first.request)) != (other.customer, digest_of(other.request)):
                    origin = next(op for op in told if op.order_id == first.order_id)
                    forgot = bool(evidence.lost_between(origin, other))
                    yield from _wrong_answer(pair, first, other, is_told=other in told, forgot=forgot)


def _clashed(evidence: Evidence, operation: Operation) -> bool:
    """Admitted while the gate had forgotten the first request, and rejected by the ledger for it; or itself written off."""
    order = evidence.orders.get(str(operation.order_id))
    return order is not None and order.status == "rejected" and (order.reason == SEQ_TAKEN or evidence.is_written_off(order))


def _wrong_answer(pair: str, first: Operation, other: Operation, *, is_told: bool, forgot: bool) -> Iterator[str]:
    if is_told and first.number < other.number:
        yield f"{pair} is order {first.order_id} of customer {first.customer}, and another request got {other.order_id}"
    expected = "idempotency_mismatch" if first.customer == other.customer else "seq_taken"
    code = (other.answer or {}).get("code")
    is_later = first.completed_at is not None and first.completed_at < other.invoked_at
    if is_later and not forgot and _is_final(other) and other.status != 400 and code != expected:
        yield f"{pair} is order {first.order_id}, another request by customer {other.customer} got {code}, not {expected}"


def reads_never_go_backwards(evidence: Evidence) -> Iterator[str]:
    """What a client reads of an order after another read is that state or one that may follow it.

    An order that the ledger cannot take may be rejected from wherever it stands.
    """
    for order, operations in evidence.about.items():
        reads = [op for op in operations if _status(op)]
        ended = sorted(reads, key=lambda op: op.completed_at or 0.0)
        seen: set[str] = set()
        upto = 0
        for read in sorted(reads, key=lambda op: op.invoked_at):
            while upto < len(ended) and ended[upto].completed_at < read.invoked_at:
                seen.add(_status(ended[upto]))
                upto += 1
            for before in sorted(seen):
                if _status(read) not in reachable(before) and not (evidence.is_poison(order) and _status(read) == "rejected"):
                    yield f"order {order} was read as {before} and then by customer {read.customer} as {_status(read)}"


def _status(operation: Operation) -> str:
    return str((operation.answer or {}).get("status", "")) if operation.result == "ok" else ""


def reads_agree_with_the_books(evidence: Evidence) -> Iterator[str]:
    """What a client read of an order is what the books say of it, or became it."""
    for order in evidence.books.orders:
        states = [event.status for event in evidence.events.get(order.id, [])]
        for read in evidence.about.get(order.id, []):
            answer = read.answer or {}
            if not _status(read):
                continue
            if evidence.is_written_off(order) and _status(read) in ("queued", "reserved"):
                continue  # the gate or the intake told of it; the row knows nothing of it any more
            if order.reason != SEQ_TAKEN and order.status not in reachable(_status(read)):
                yield f"order {order.id} was read as {_status(read)} and is {order.status}"
            told = (answer["sku"], answer["quantity"], answer["total"], answer["currency"], answer["source"], answer["seq"])
            held = (order.sku, order.units, str(order.total), order.currency, order.source, _seq_told(order))
            if told != held:
                yield f"order {order.id} was read as {told} and is {held}"
            history = [line["status"] for line in answer["history"]]
            if order.reason != SEQ_TAKEN and history != states[: len(history)]:
                yield f"order {order.id} was read with the history {history}, it is {states}"


def _seq_told(order: Order) -> str:
    """Nobody's own number, where the row has only its id for one."""
    return order.seq.partition("~")[0] if order.source else ""


def acknowledged_orders_can_be_read(evidence: Evidence) -> Iterator[str]:
    """From its 202 on an order is found by its customer, and never by anybody else."""
    for order, operation in evidence.acknowledged.items():
        for read in evidence.about.get(order, []):
            is_mine = read.customer == operation.customer
            if is_mine and read.status == 404 and operation.completed_at < read.invoked_at:
                yield f"order {order} was acknowledged to customer {read.customer}, who then did not find it"
            if not is_mine and read.result == "ok":
                yield f"order {order} of customer {operation.customer} was shown to customer {read.customer}"
