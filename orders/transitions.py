"""One statement for one step of the state machine: lock, change, write the history."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from orders.states import OrderStatus, sources_of


class Moved(NamedTuple):
    """An order that has made the step."""

    id: UUID
    item: int
    customer: int
    quantity: int
    total: Decimal
    currency: str
    payment_method: str


_ADVANCE = """
WITH candidates AS (
    SELECT id FROM orders_order WHERE id = ANY(%(ids)s::uuid[]) AND status = ANY(%(sources)s) {overdue}
    ORDER BY id FOR UPDATE {skip}
), moved AS (
    UPDATE orders_order o SET status = %(target)s, reason = %(reason)s, updated_at = now()
    FROM candidates c WHERE o.id = c.id
    RETURNING o.id, o.item_id, o.customer_id, o.quantity, o.unit_price * o.quantity, o.currency, o.payment_method
), noted AS (
    INSERT INTO orders_orderevent (order_id, status, reason, actor, at)
    SELECT id, %(target)s, %(reason)s, %(actor)s, clock_timestamp() FROM moved
)
SELECT * FROM moved
"""


def advance(order_ids: Iterable[UUID], target: OrderStatus, *, reason: str = "", actor: str = "") -> list[Moved]:
    """Take the step for those of these orders whose state allows it; they are locked until the transaction ends.

    Args:
        reason: why, for the row and its history.
        actor: the person who did it, for the history.
    """
    return _run(_ADVANCE.format(overdue="", skip=""), order_ids, target, reason, actor)


def expire(order_ids: Iterable[UUID]) -> list[Moved]:
    """Cancel those of these orders whose payment is overdue, leaving out what somebody else has locked."""
    statement = _ADVANCE.format(overdue="AND expires_at <= now()", skip="SKIP LOCKED")
    return _run(statement, order_ids, OrderStatus.CANCELLED, "payment_timeout", "", sources=[OrderStatus.PENDING_PAYMENT])


def _run(
    statement: str,
    order_ids: Iterable[UUID],
    target: OrderStatus,
    reason: str,
    actor: str,
    sources: list[OrderStatus] | None = None,
) -> list[Moved]:
    values: dict[str, Any] = {
        "ids": [str(pk) for pk in order_ids],
        "sources": [str(source) for source in sources or sources_of(target)],
        "target": str(target),
        "reason": reason,
        "actor": actor,
    }
    if not values["ids"]:
        return []
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return [Moved(*row) for row in cursor.fetchall()]
