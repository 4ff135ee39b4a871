"""State transitions of orders. One SQL statement locks the rows, changes them and appends to their history."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from orders.states import OrderStatus, sources_of


class Moved(NamedTuple):
    """An order that was moved to the new state."""

    id: UUID
    item: int
    customer: int
    quantity: int
    total: Decimal
    currency: str
    payment_method: str


_MOVE = """
WITH candidates AS (
    SELECT id FROM orders_order WHERE {which}
), moved AS (
    UPDATE orders_order o SET status = %(target)s, reason = %(reason)s, updated_at = now(),
        steps = o.steps || jsonb_build_object('status', %(target)s::text, 'reason', %(reason)s::text, 'actor', %(actor)s::text,
            'at', clock_timestamp())
    FROM candidates c WHERE o.id = c.id
    RETURNING o.id, o.item_id, o.customer_id, o.quantity, o.unit_price * o.quantity, o.currency, o.payment_method
)
SELECT * FROM moved
"""
_ADVANCE = _MOVE.format(which="id = ANY(%(ids)s::uuid[]) AND status = ANY(%(sources)s) ORDER BY id FOR UPDATE")
_EXPIRE = _MOVE.format(
    which="status = %(source)s AND expires_at <= now() ORDER BY expires_at, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED"
)


def advance(order_ids: Iterable[UUID], target: OrderStatus, *, reason: str = "", actor: str = "") -> list[Moved]:
    """Move the orders that may go to ``target``. Their rows stay locked until the transaction ends.

    Args:
        reason: stored in the order and its history.
        actor: user name of the person who did it, for the history.
    """
    ids = [str(pk) for pk in order_ids]
    if not ids:
        return []
    which = {"ids": ids, "sources": [str(source) for source in sources_of(target)]}
    return _run(_ADVANCE, which, target, reason, actor)


def expire(limit: int) -> list[Moved]:
    """Cancel up to ``limit`` orders whose payment is overdue, most overdue first. Locked rows are skipped."""
    which = {"source": str(OrderStatus.PENDING_PAYMENT), "limit": limit}
    return _run(_EXPIRE, which, OrderStatus.CANCELLED, "payment_timeout", "")


def _run(statement: str, which: dict[str, Any], target: OrderStatus, reason: str, actor: str) -> list[Moved]:
    with connection.cursor() as cursor:
        cursor.execute(statement, which | {"target": str(target), "reason": reason, "actor": actor})
        return [Moved(*row) for row in cursor.fetchall()]
