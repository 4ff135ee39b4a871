"""Whether a sale has come to rest: what is still on its way, asked of the servers themselves."""

import redis
from django.db import DatabaseError, close_old_connections, connection

_OPEN = {
    "orders without an end": "SELECT count(*) FROM orders_order WHERE item_id = ANY(%(items)s) "
    "AND status IN ('reserved', 'pending_payment')",
    # What stands in a dead letter waits for staff, and what is written off is over.
    "intake": "SELECT count(*) FROM orders_intake i WHERE item_id = ANY(%(items)s) AND reason NOT IN ('lost', 'poisoned') "
    "AND NOT EXISTS (SELECT 1 FROM tasks_deadletter l WHERE l.resolved_at IS NULL AND strpos(l.args::text, i.id::text) > 0)",
    "effects": "SELECT count(*) FROM orders_effectbatch WHERE item_id = ANY(%(items)s)",
    "payments": "SELECT count(*) FROM payments_payment p JOIN orders_order o ON o.id = p.order_id "
    "WHERE o.item_id = ANY(%(items)s) AND (p.status IN ('created', 'processing', 'unknown') OR p.applied_at IS NULL)",
    "refunds": "SELECT count(*) FROM payments_refund r JOIN payments_payment p ON p.id = r.payment_id "
    "JOIN orders_order o ON o.id = p.order_id WHERE o.item_id = ANY(%(items)s) AND r.status = 'requested'",
}


def on_its_way(slug: str) -> dict[str, int]:
    """What is not at rest, by name; empty when everything is. While a server is away, that is what it says."""
    from flashsale.core.redis_client import gate_client
    from inventory import selectors
    from inventory.admission import gate, keys

    close_old_connections()
    try:
        items = selectors.items_of_sale(slug)
        left = {name: _count(statement, items) for name, statement in _OPEN.items()}
        left["stream"] = sum(gate_client().xlen(keys.admitted(item)) for item in items)
        left["gates away"] = sum(seen is None for seen in gate.versions(items).values())
    except (DatabaseError, redis.RedisError, ConnectionError) as error:
        connection.close()
        return {f"away: {error!r}": 1}
    return {name: count for name, count in left.items() if count}


def _count(statement: str, items: list[int]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, {"items": items})
        return int(cursor.fetchone()[0])
