"""Check every invariant on the current data in PostgreSQL and Redis."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.db import connection

from inventory import selectors
from orders.states import TRANSITIONS, OrderStatus
from payments.services import books_of, books_sql
from tasks.repair.drift import drift

_GRACE_S = 60  # time an order has to reach an end state after its deadline


@dataclass(frozen=True, slots=True)
class Check:
    """An invariant and its violations."""

    name: str
    breaches: list[str]


@dataclass(frozen=True, slots=True)
class Report:
    """All checks, and the number of orders in flight, which are never a violation."""

    checks: list[Check]
    items: int
    orders: int
    in_flight: int

    @property
    def is_clean(self) -> bool:
        """Whether there are no violations."""
        return not any(check.breaches for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return asdict(self) | {"clean": self.is_clean}


def _rows(statement: str, *args: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, args)
        return list(cursor.fetchall())


def _gate(items: Sequence[int]) -> tuple[list[str], list[str], int]:
    totals, differences, in_flight = [], [], 0
    for item in items:
        seen = drift(item)
        in_flight += seen.in_flight
        if seen.is_drift:
            differences.append(
                f"item {item}: gate stock {seen.gate_stock} held {seen.gate_held} sold {seen.gate_sold}, "
                f"ledger {seen.ledger_stock} {seen.ledger_held} {seen.ledger_sold}: {seen.why}"
            )
        if seen.is_exact and seen.gate_total is not None and seen.gate_total != seen.gate_allocated:
            totals.append(f"item {item}: stock + held + sold = {seen.gate_total}, allocated {seen.gate_allocated}")
    return totals, differences, in_flight


def _oversold(items: list[int]) -> list[str]:
    rows = _rows(
        "SELECT id, allocated, sold, reserved, available FROM inventory_saleitem WHERE id = ANY(%s) "
        "AND (sold > allocated OR allocated <> available + reserved + sold OR least(available, reserved, sold) < 0)",
        items,
    )
    return [f"item {pk}: allocated {a}, sold {s}, reserved {r}, available {v}" for pk, a, s, r, v in rows]


def _orders_match_ledger(items: list[int]) -> list[str]:
    rows = _rows(
        "SELECT i.id, i.reserved, i.sold, coalesce(o.reserved, 0) + coalesce(w.units, 0), coalesce(o.sold, 0) "
        "FROM inventory_saleitem i LEFT JOIN (SELECT item_id, "
        " sum(quantity) FILTER (WHERE status IN ('reserved', 'pending_payment')) AS reserved, "
        " sum(quantity) FILTER (WHERE status IN ('paid', 'refunded') AND reason <> 'restocked') AS sold "
        "FROM orders_order GROUP BY item_id) o "
        " ON o.item_id = i.id LEFT JOIN (SELECT item_id, sum((payload ->> 'units')::int) AS units FROM orders_intake "
        " WHERE reason = '' GROUP BY item_id) w ON w.item_id = i.id WHERE i.id = ANY(%s) AND "
        " (i.reserved <> coalesce(o.reserved, 0) + coalesce(w.units, 0) OR i.sold <> coalesce(o.sold, 0))",
        items,
    )
    return [f"item {pk}: ledger reserved {lr} sold {ls}, orders {orr} {os}" for pk, lr, ls, orr, os in rows]


def _twice(items: list[int]) -> list[str]:
    rows = _rows(
        "SELECT source, split_part(seq, '~', 1), count(*) FROM orders_order WHERE item_id = ANY(%s) "
        "AND NOT (status = 'rejected' AND reason = 'seq_taken') GROUP BY 1, 2 HAVING count(*) > 1",
        items,
    )
    return [f"{source}/{seq}: {count} orders" for source, seq, count in rows]


def _over_limit(items: list[int]) -> list[str]:
    """For each version of the limit: the customer's units up to that version must not exceed it. See ``orders.terms``."""
    rows = _rows(
        "SELECT r.item_id, r.customer_id, r.total, coalesce(t.per_customer, m.highest) FROM (SELECT item_id, customer_id, "
        " coalesce(limit_version, 0) AS version, sum(sum(quantity)) OVER (PARTITION BY item_id, customer_id "
        "  ORDER BY coalesce(limit_version, 0)) AS total FROM orders_order WHERE item_id = ANY(%s) "
        "  AND status IN ('reserved', 'pending_payment', 'paid', 'refunded') AND reason <> 'restocked' GROUP BY 1, 2, 3) r "
        "LEFT JOIN inventory_terms t ON t.item_id = r.item_id AND t.version = r.version "
        "JOIN (SELECT item_id, max(per_customer) AS highest FROM inventory_terms GROUP BY 1) m ON m.item_id = r.item_id "
        "WHERE r.total > coalesce(t.per_customer, m.highest)",
        items,
    )
    return [f"item {item}: customer {customer} has {units} of {limit}" for item, customer, units, limit in rows]


def _wrong_prices(items: list[int]) -> list[str]:
    """Orders without a terms version, or from before terms were recorded, may have any price of their item."""
    rows = _rows(
        "SELECT o.id::text, o.unit_price, o.currency FROM orders_order o WHERE o.item_id = ANY(%s) AND o.status <> 'rejected' "
        "AND (o.terms_version IS NOT NULL "
        " OR o.created_at > (SELECT min(created_at) FROM inventory_terms t WHERE t.item_id = o.item_id)) "
        "AND NOT EXISTS (SELECT FROM inventory_terms t WHERE t.item_id = o.item_id AND t.price = o.unit_price "
        " AND t.currency = o.currency AND t.version = coalesce(o.terms_version, t.version))",
        items,
    )
    return [f"order {pk} is at {price} {currency}" for pk, price, currency in rows]


def _stuck(items: list[int]) -> list[str]:
    rows = _rows(
        "SELECT id::text, status FROM orders_order WHERE item_id = ANY(%s) AND status IN ('reserved', 'pending_payment') "
        "AND expires_at < now() - make_interval(secs => %s) UNION ALL SELECT id::text, 'intake' FROM orders_intake "
        "WHERE item_id = ANY(%s) AND reason NOT IN ('lost', 'poisoned') AND created_at < now() - make_interval(secs => %s)",
        items,
        _GRACE_S,
        items,
        _GRACE_S,
    )
    return [f"order {pk} is still {status}" for pk, status in rows]


# A provider event of the payment is still being processed by the sweeps.
_IS_BEING_CONFIRMED = (
    "EXISTS (SELECT FROM payments_providerevent e WHERE e.outcome = '' AND e.payload ->> 'idempotency_key' = p.idempotency_key)"
)


def _charged_twice(items: list[int]) -> list[str]:
    rows = _rows(
        "SELECT p.order_id::text, count(*) FROM payments_payment p "  # noqa: S608
        f"JOIN LATERAL {books_of('p.idempotency_key')} c ON true "
        "LEFT JOIN payments_refund f ON f.payment_id = p.id "
        "JOIN orders_order o ON o.id = p.order_id WHERE o.item_id = ANY(%s) AND c.refunded < c.amount "
        f"AND f.status IS DISTINCT FROM 'requested' AND NOT {_IS_BEING_CONFIRMED} GROUP BY 1 HAVING count(*) > 1",
        items,
    )
    return [f"order {pk}: {count} captures" for pk, count in rows]


def _money(items: list[int]) -> list[str]:
    """Paid orders have exactly their total captured. Other orders have nothing captured, or it is refunded (or about to be)."""
    rows = _rows(
        "SELECT o.id::text, o.status, o.unit_price * o.quantity, coalesce(sum(c.amount), 0), coalesce(sum(c.refunded), 0) "  # noqa: S608
        "FROM orders_order o LEFT JOIN payments_payment p ON p.order_id = o.id "
        f"LEFT JOIN LATERAL {books_of('p.idempotency_key')} c ON true WHERE o.item_id = ANY(%s) "
        "AND o.status IN ('paid', 'refunded', 'cancelled', 'rejected') "
        "AND NOT EXISTS (SELECT 1 FROM payments_payment q LEFT JOIN payments_refund f ON f.payment_id = q.id "
        " WHERE q.order_id = o.id AND (q.status IN ('created', 'processing', 'unknown') OR f.status = 'requested' "
        f" OR (q.status = 'succeeded' AND q.applied_at IS NULL) OR {_IS_BEING_CONFIRMED.replace('p.', 'q.')})) GROUP BY o.id "
        "HAVING coalesce(sum(c.amount), 0) - coalesce(sum(c.refunded), 0) "
        " <> CASE WHEN o.status = 'paid' THEN o.unit_price * o.quantity ELSE 0 END",
        items,
    )
    return [f"order {pk} is {status}: total {total}, captured {got}, refunded {back}" for pk, status, total, got, back in rows]


def _unexplained(items: list[int]) -> list[str]:
    """Inconsistencies between orders, payments, refunds and the provider's books."""
    statements = (
        "SELECT format('order %%s is paid, and no payment of it has succeeded', o.id) FROM orders_order o "
        "WHERE o.item_id = ANY(%s) AND o.status = 'paid' AND o.unit_price > 0 AND NOT EXISTS (SELECT FROM payments_payment p "
        " LEFT JOIN payments_refund f ON f.payment_id = p.id "
        " WHERE p.order_id = o.id AND p.status = 'succeeded' AND f.id IS NULL)",
        "SELECT format('order %%s is refunded, and there is no refund', o.id) FROM orders_order o "
        "WHERE o.item_id = ANY(%s) AND o.status = 'refunded' AND o.unit_price > 0 AND NOT EXISTS "
        " (SELECT FROM payments_payment p JOIN payments_refund f ON f.payment_id = p.id WHERE p.order_id = o.id)",
        "SELECT format('order %%s is %%s, and payment %%s is kept', o.id, o.status, p.id) FROM orders_order o "
        "JOIN payments_payment p ON p.order_id = o.id AND p.status = 'succeeded' AND p.applied_at IS NOT NULL "
        "LEFT JOIN payments_refund f ON f.payment_id = p.id "
        "WHERE o.item_id = ANY(%s) AND o.status <> 'paid' AND p.amount > 0 AND f.id IS NULL",
        "SELECT format('payment %%s of order %%s has failed, and the provider holds %%s', p.id, o.id, c.amount) "  # noqa: S608
        "FROM orders_order o JOIN payments_payment p ON p.order_id = o.id AND p.status = 'failed' "
        f"JOIN LATERAL {books_of('p.idempotency_key')} c ON true "
        f"WHERE o.item_id = ANY(%s) AND c.refunded < c.amount AND NOT {_IS_BEING_CONFIRMED}",
        "SELECT format('refund %%s of order %%s has failed: %%s', f.id, o.id, f.failure_code) FROM orders_order o "
        "JOIN payments_payment p ON p.order_id = o.id JOIN payments_refund f ON f.payment_id = p.id "
        "WHERE o.item_id = ANY(%s) AND f.status = 'failed'",
    )
    return [text for statement in statements for (text,) in _rows(statement, items)]


def _of_no_order() -> list[str]:
    """Charges at the provider that belong to no order. They cannot be assigned to a sale."""
    rows = _rows(
        f"SELECT c.ref, c.amount, c.currency, c.key FROM {books_sql()} c "  # noqa: S608
        "LEFT JOIN payments_payment p ON p.idempotency_key = c.key "
        "LEFT JOIN orders_order o ON o.id = p.order_id WHERE c.refunded < c.amount AND o.id IS NULL"
    )
    return [f"charge {ref} of {amount} {currency}: no order for its key {key}" for ref, amount, currency, key in rows]


# The first step of every history is the admission.
_STEPS = {("", OrderStatus.QUEUED)} | {(source, target) for source, targets in TRANSITIONS.items() for target in targets}


def _histories(items: list[int]) -> list[str]:
    rows = _rows(
        "SELECT previous, status, count(*), min(order_id::text) FROM (SELECT e.order_id, e.status, "
        " coalesce(lag(e.status) OVER (PARTITION BY e.order_id ORDER BY e.id), '') AS previous "
        " FROM orders_orderevent e JOIN orders_order o ON o.id = e.order_id WHERE o.item_id = ANY(%s)) steps GROUP BY 1, 2",
        items,
    )
    illegal = [row for row in rows if (row[0], row[1]) not in _STEPS]
    return [f"{before or 'nothing'} -> {after}: {count} orders, {order} among them" for before, after, count, order in illegal]


_CHECKS: tuple[tuple[str, Callable[[list[int]], list[str]]], ...] = (
    ("no oversell; allocated = available + reserved + sold", _oversold),
    ("stock columns equal the sums of the stock movements", lambda items: selectors.ledger_breaches(items)),
    ("reserved and sold units match the orders", _orders_match_ledger),
    ("one order per (source, seq)", _twice),
    ("no customer over the limit", _over_limit),
    ("every order has a price of its item", _wrong_prices),
    ("no order is overdue", _stuck),
    ("one successful charge at most per order", _charged_twice),
    ("paid = captured - refunded", _money),
    ("orders, payments and refunds are consistent", _unexplained),
    ("only legal transitions", _histories),
)


def audit(slug: str | None = None) -> Report:
    """Check one sale, or all sales."""
    items = selectors.items_of_sale(slug)
    watched = set(selectors.watched_items())
    totals, differences, in_flight = _gate([item for item in items if item in watched])
    checks = [Check(name, check(items)) for name, check in _CHECKS]
    if slug is None:
        checks.append(Check("every charge belongs to an order", _of_no_order()))
    checks.append(Check("gate: stock + held + sold = allocated", totals))
    checks.append(Check("gate matches PostgreSQL", differences))
    count = _rows("SELECT count(*) FROM orders_order WHERE item_id = ANY(%s)", items)[0][0]
    return Report(checks, len(items), count, in_flight)


def statuses(slug: str) -> Counter[str]:
    """Number of orders of a sale by state."""
    rows = _rows(
        "SELECT o.status, count(*) FROM orders_order o JOIN inventory_saleitem i ON i.id = o.item_id "
        "JOIN inventory_sale s ON s.id = i.sale_id WHERE s.slug = %s GROUP BY 1",
        slug,
    )
    return Counter(dict(rows))
