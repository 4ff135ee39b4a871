"""Orders: each one that was promised exists, once, as it was asked for, and comes to an end."""

from collections.abc import Iterator

from tests.chaos.evidence import END_STATES, NEXT, OPEN_PAYMENT, SEQ_TAKEN, Evidence, grouped, sender
from tests.chaos.rows import Intake, Order

_LIVENESS_S = 30.0
_FIRST = frozenset({"queued"})


def acknowledged_orders_are_kept(evidence: Evidence) -> Iterator[str]:
    """Whoever was told 202 has an order in the books."""
    for order, operation in evidence.acknowledged.items():
        if order not in evidence.orders and not evidence.is_poison(order):
            where = "the intake" if order in evidence.intake else "no book"
            yield f"order {order} of customer {operation.customer} was acknowledged and is in {where}"


def every_order_ends(evidence: Evidence) -> Iterator[str]:
    """Every order is paid, cancelled, rejected or refunded, unless it still may be paid by its customer."""
    for order in evidence.books.orders:
        if order.status not in END_STATES and not _may_be_paid(evidence, order):
            yield f"order {order.id} of customer {order.customer} is still {order.status}"


def _may_be_paid(evidence: Evidence, order: Order) -> bool:
    payments = evidence.payments.get(order.id, [])
    is_asked_for = any(payment.status in OPEN_PAYMENT or payment.status == "succeeded" for payment in payments)
    waits = not is_asked_for and (bool(payments) or not order.method)
    return order.status == "pending_payment" and waits and order.expires_at > evidence.books.taken_at


def every_order_was_attempted(evidence: Evidence) -> Iterator[str]:
    """No order is in the books that no client tried to make: this customer, sku, quantity and method."""
    for order in evidence.taken:
        if not evidence.attempts(order) and not _is_written_off(evidence, order):
            yield f"order {order.id} ({sender(order)}, customer {order.customer}, {order.units} x {order.sku}): nobody sent it"


def _is_written_off(evidence: Evidence, order: Order | Intake) -> bool:
    """Of such an order the ledger keeps only whose it was."""
    told = evidence.acknowledged.get(order.id)
    is_lost = evidence.is_lost(order.id) and told is not None and told.customer == order.customer
    return is_lost or evidence.is_poison(order.id)


def refused_orders_leave_nothing(evidence: Evidence) -> Iterator[str]:
    """An order that was refused is in no book, unless the same request was also sent without being refused."""
    for order in evidence.taken:
        attempts = evidence.attempts(order)
        if attempts and all(attempt.result == "refused" for attempt in attempts):
            yield f"order {order.id} ({sender(order)}, customer {order.customer}) was refused with {attempts[0].status}"


def one_order_per_source_and_seq(evidence: Evidence) -> Iterator[str]:
    """A (source, seq) makes one order; another that clashed with it is rejected as such."""
    kept = [row for row in evidence.taken if (getattr(row, "status", ""), row.reason) != ("rejected", SEQ_TAKEN)]
    for pair, rows in grouped((sender(row), row) for row in kept).items():
        if len(rows) > 1:
            yield f"{pair} made the orders {', '.join(row.id for row in rows)}"
    for row in kept:
        if "~" in row.seq:
            yield f"order {row.id}: only a rejected order may be called {row.seq}"


def one_order_per_token(evidence: Evidence) -> Iterator[str]:
    """A purchase token buys once."""
    made = [
        (str(attempts[0].request["token"]), row.id, sender(row))
        for row in evidence.taken
        if (attempts := evidence.attempts(row))
    ]
    for token, uses in grouped((token, (order, pair)) for token, order, pair in made).items():
        if len({pair for _, pair in uses}) > 1:
            yield f"the token {token} made the orders {', '.join(order for order, _ in uses)}"


def only_legal_transitions(evidence: Evidence) -> Iterator[str]:
    """A history starts at queued, takes only steps that orders/states.py knows, and ends where the row is."""
    for order in evidence.books.orders:
        before, allowed = "nothing", _FIRST
        for event in evidence.events.get(order.id, []):
            if event.status not in allowed:
                yield f"order {order.id} of customer {order.customer}: {before} -> {event.status}"
            before, allowed = event.status, NEXT.get(event.status, frozenset())
        if before != order.status:
            yield f"order {order.id} of customer {order.customer} is {order.status}, its history ends at {before}"
    for order_id in evidence.events.keys() - evidence.orders.keys():
        yield f"order {order_id} has a history and no row"


def no_order_is_cancelled_early(evidence: Evidence) -> Iterator[str]:
    """What is cancelled for want of payment was not cancelled before its deadline."""
    for order in evidence.books.orders:
        for event in evidence.events.get(order.id, []):
            early = order.expires_at - event.at
            if event.status == "cancelled" and order.reason == "payment_timeout" and early > 0:
                yield f"order {order.id} of customer {order.customer} was cancelled {early:.3f} s before its deadline"


def customers_have_their_word(evidence: Evidence) -> Iterator[str]:
    """Who was told that an order is cancelled has it cancelled; no order is cancelled by a customer who did not ask."""
    for order in evidence.books.orders:
        asked = [op for op in evidence.about.get(order.id, []) if op.kind == "cancel" and op.customer == order.customer]
        if order.status != "cancelled" and any(op.result == "ok" for op in asked):
            yield f"order {order.id}: customer {order.customer} was told that it is cancelled, it is {order.status}"
        if order.reason == "by_customer" and not any(op.result != "refused" for op in asked):
            yield f"order {order.id} is cancelled by customer {order.customer}, who did not ask for it"


def ends_come_in_time(evidence: Evidence) -> Iterator[str]:
    """Every order ends, and the run is quiet, within 30 s of the last heal, or of what keeps an order waiting later."""
    books = evidence.books
    if books.healed_at is None:
        return
    causes = {order.id: max(books.healed_at, _last_cause(evidence, order)) for order in books.orders}
    for order in books.orders:
        events = evidence.events.get(order.id, [])
        ended = next((event.at for event in events if event.status in END_STATES), None)
        late = (ended or books.taken_at) - causes[order.id]
        if late > _LIVENESS_S and not (ended is None and _may_be_paid(evidence, order)):
            yield f"order {order.id} of customer {order.customer} took {late:.1f} s after the last heal"
    late = (books.settled_at or 0.0) - max(causes.values(), default=books.healed_at)
    if late > _LIVENESS_S:
        yield f"the run was quiet {late:.1f} s after the last heal"


def _last_cause(evidence: Evidence, order: Order) -> float:
    """When the order could begin to end: it came, its customer asked, or its deadline passed; a lost one, when one looked."""
    asked = [op.completed_at or op.invoked_at for op in evidence.about.get(order.id, []) if op.kind in ("pay", "cancel")]
    came = [event.at for event in evidence.events.get(order.id, [])[:1]]
    waits = [order.expires_at] if order.reason == "payment_timeout" else []
    if evidence.is_lost(order.id):
        asked += [op.completed_at or op.invoked_at for op in evidence.about.get(order.id, []) if op.answer]
    return max([*asked, *came, *waits], default=0.0)
