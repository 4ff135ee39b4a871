"""Many orders in every state, each statement of the hot way and of the sweeps, and how PostgreSQL would carry it out."""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from functools import partial
from uuid import UUID

from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from flashsale.core.clock import now, to_us
from flashsale.core.ids import new_uuid
from inventory import selectors as inventory
from inventory import services as stock
from inventory.admission.admitted import AdmittedOrder
from orders import holds, selectors, services
from orders.errors import NotPayable
from orders.services import outbox
from payments import services as payments
from payments.models import Payment, Refund
from tasks.repair import dead_letters

ITEMS = 4
BATCH = 500
# In the intake, unpaid past their deadline, unpaid, reserved, payments to ask about, refunds to send: a hundredth each.
_PART = 100
_BIG = 4_000  # rows from which a table is not to be read from one end to the other
_TABLES = (
    "auth_user, orders_order, orders_eventline, orders_intake, orders_effectbatch, inventory_stockmovement, "
    "inventory_saleitem, payments_payment, payments_refund, payments_sandboxcharge, payments_providerevent, tasks_deadletter"
)
_FILL = """
INSERT INTO auth_user (username, password, first_name, last_name, email, is_superuser, is_staff, is_active, date_joined)
    SELECT 'plan' || n, '!', '', '', '', false, false, true, now() FROM generate_series(1, {orders} / 4) n;
CREATE TEMP TABLE plan ON COMMIT DROP AS
    SELECT n, gen_random_uuid() AS id, {first_item} + n % {items} AS item,
        (SELECT min(id) FROM auth_user WHERE username LIKE 'plan%') + n % ({orders} / 4) AS customer,
        CASE n % {part} WHEN 0 THEN 'reserved' WHEN 1 THEN 'pending_payment' WHEN 2 THEN 'cancelled' WHEN 3 THEN 'refunded'
            ELSE 'paid' END AS status
    FROM generate_series(1, {orders}) n;
INSERT INTO orders_order (id, customer_id, item_id, sku, quantity, unit_price, currency, source, seq, digest, payment_method,
        status, reason, admitted_at, created_at, expires_at, updated_at, steps)
    SELECT id, customer, item, 'plan', 1, 10, 'EUR', 'plan', 'p' || n, repeat('a', 64), 'pm_ok', status, '', now(), now(),
        now() + interval '1 hour' * (n % 3 - 1), now() - interval '1 hour',
        jsonb_build_array(jsonb_build_object('status', 'queued', 'at', now()),
            jsonb_build_object('status', 'reserved', 'at', now()))
    FROM plan;
INSERT INTO inventory_stockmovement (item_id, kind, units, reservation_id, actor, reason, created_at)
    SELECT item, 'reserve', 1, id, '', '', now() FROM plan;
INSERT INTO payments_payment (id, order_id, customer_id, amount, currency, method, origin, provider, idempotency_key,
        provider_ref, status, failure_code, attempts, next_attempt_at, applied_at, created_at, updated_at)
    SELECT id, id, customer, 10, 'EUR', 'pm_ok', 'chain', 'sandbox', replace(id::text, '-', ''), 'ref' || n,
        CASE status WHEN 'pending_payment' THEN 'unknown' ELSE 'succeeded' END, '', 1, now() - interval '1 minute',
        CASE WHEN status <> 'pending_payment' AND n % {part} <> 5 THEN now() END, now(), now()
    FROM plan WHERE status <> 'reserved';
INSERT INTO payments_refund (id, payment_id, amount, reason, idempotency_key, provider_ref, status, failure_code, attempts,
        next_attempt_at, created_at, updated_at)
    SELECT id, id, 10, '', replace(id::text, '-', ''), '', CASE n % 2 WHEN 0 THEN 'requested' ELSE 'succeeded' END, '', 0,
        now() + interval '1 hour', now(), now() FROM plan WHERE n % 10 IN (3, 4);
INSERT INTO payments_sandboxcharge (ref, idempotency_key, amount, currency, method, outcome, asked, decided_at, created_at)
    SELECT 'ref' || n, replace(id::text, '-', ''), 10, 'EUR', 'pm_ok', 'captured', 1, now(), now() FROM plan;
INSERT INTO orders_intake (id, item_id, payload, reason, created_at, failures)
    SELECT id, item, jsonb_build_object('id', id, 'item', item, 'customer', customer, 'sku', 'plan', 'units', 1, 'price', '10',
        'currency', 'EUR', 'source', 'waits', 'seq', 'w' || n, 'digest', repeat('a', 64), 'method', 'pm_ok', 'at', {moment}),
        '', now() - interval '1 minute' - interval '1 second' * (n / 500), 0
    FROM (SELECT gen_random_uuid() AS id, n, item, customer FROM plan WHERE n % 2 = 0) p;
INSERT INTO orders_effectbatch (order_ids, item_id, kind, created_at)
    SELECT ARRAY[id], item, 'settle', now() FROM plan WHERE n % 2 = 1;
INSERT INTO payments_providerevent (provider, event_id, kind, payload, received_at)
    SELECT 'sandbox', 'event' || n, 'charge.succeeded', '{{}}', now() FROM plan WHERE n % 10 = 2;
INSERT INTO tasks_deadletter (task, queue, args, error_code, error, attempts, fingerprint, created_at, resolved_by)
    SELECT 'tasks.create_orders', 'orders', '[]', 'x', 'x', 1, md5(n::text), now(), '' FROM plan WHERE n % 10 = 6;
UPDATE inventory_saleitem SET allocated = 2 * {orders}, available = {orders}, reserved = {orders} / 2, sold = {orders} / 2
    WHERE id >= {first_item} AND id < {first_item} + {items};
"""


@dataclass
class Shop:
    """What there is to ask about; a customer and orders that exist."""

    items: list[int]
    customer: int
    paid: UUID
    unpaid: UUID
    reserved: list[UUID]
    waiting: list[UUID]
    payments: list[UUID]
    sale: str = "plan"


@dataclass
class Statement:
    """One statement, and what PostgreSQL says of it; ``ms``: how long it took, where it was run."""

    call: str
    sql: str
    plan: dict = field(repr=False)
    ms: float | None = None

    def scans(self, big):
        """The big tables that it reads from one end to the other, its parts included."""
        return sorted({node["Relation Name"] for node in _nodes(self.plan) if node["Node Type"] == "Seq Scan"} & big)

    @property
    def top_scan(self):
        """The scan that costs the most, and its index."""
        scans = [node for node in _nodes(self.plan) if "Scan" in node["Node Type"]]
        if not scans:
            return str(self.plan["Node Type"])
        node = max(scans, key=lambda each: each["Total Cost"])
        index = next((each["Index Name"] for each in _nodes(node) if "Index Name" in each), "")
        return f"{node['Node Type']} {node.get('Relation Name', '')} {index}".strip()


def _nodes(plan):
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)


def fill(orders):
    """So many orders over some items, half as many in the intake, and all that belongs to them."""
    sale = stock.create_sale(
        slug="plan",
        name="plan",
        opens_at=now() - timedelta(minutes=1),
        closes_at=now() + timedelta(days=1),
        payment_window=timedelta(hours=1),
    )
    items = [
        stock.add_item(sale=sale, sku=f"plan{n}", name="plan", units=0, price=Decimal(10), per_customer=100).pk
        for n in range(ITEMS)
    ]
    values = {"orders": orders, "items": ITEMS, "first_item": items[0], "part": _PART, "moment": to_us(now())}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_FILL.format(**values))
    with connection.cursor() as cursor:
        cursor.execute(f"VACUUM ANALYZE {_TABLES}")
    return _shop(items)


def _shop(items):
    def column(sql):
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return [value for (value,) in cursor.fetchall()]

    by_status = "SELECT id FROM orders_order WHERE status = '{}' LIMIT {}"
    return Shop(
        items=items,
        customer=column("SELECT min(id) + 7 FROM auth_user WHERE username LIKE 'plan%'")[0],
        paid=column(by_status.format("paid", 1))[0],
        unpaid=column(by_status.format("pending_payment", 1))[0],
        reserved=column(by_status.format("reserved", BATCH)),
        waiting=column(f"SELECT id FROM orders_intake LIMIT {BATCH}"),
        payments=column(f"SELECT id FROM payments_payment WHERE status = 'unknown' LIMIT {BATCH}"),
    )


def big_tables():
    """Those that no statement may read whole."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples > %s", [_BIG])
        return {name for (name,) in cursor.fetchall()}


def calls(shop):
    """Name -> what the product does, as it does it; of providers only the sandbox is asked, whose books are rows."""
    item, customer = shop.items[0], shop.customer
    fresh = [_admitted(item, customer + n) for n in range(BATCH)]
    answers = [
        payments.Answer(row.order_id, row.idempotency_key, "succeeded", row.provider_ref)
        for row in Payment.objects.filter(pk__in=shop.payments)
    ]
    return {
        "a bogus token": partial(selectors.by_source_seq, "nobody", "nothing"),
        "a repeated order": partial(selectors.by_source_seq, "plan", "p7"),
        "the status of an order": partial(selectors.status_of, shop.paid),
        "an order": partial(selectors.of_customer, customer, [shop.paid]),
        "a customer's orders": partial(selectors.of_customer, customer),
        "an item that should have a gate": partial(inventory.is_watched, item),
        "the catalog": partial(inventory.listed_sales, 500),
        "a sale that is not in the catalog": partial(inventory.listed_sales, 200, {"nowhere"}),
        "deduct": partial(services.deduct, item, fresh),
        "units per limit": partial(holds.units_by_limit, item, [customer + n for n in range(BATCH)]),
        "known ids": partial(holds.known_ids, shop.reserved),
        "written off": partial(holds.written_off, shop.reserved),
        "create": partial(services.create, shop.waiting),
        "request payments": partial(services.request_payments, shop.reserved),
        "unpaid of a batch": partial(selectors.unpaid_of, shop.reserved),
        "ask about payments": lambda: list(payments.ask(shop.payments)),
        "apply answers": partial(services.apply_answers, answers),
        "untold answers": partial(payments.untold_answers, shop.payments),
        "pay": partial(_pay, shop.unpaid),
        "cancel": partial(_cancel, shop.unpaid),
        "request a refund": lambda: payments.request_refund(payments.captured_of(shop.paid), "plan"),
        "captured of an order": partial(payments.captured_of, shop.paid),
        "sweep: intake": partial(services.stale_intake, 1000),
        "sweep: reserved": partial(services.stale_reserved, 1000),
        "sweep: unpaid": partial(services.cancel_unpaid, 1000),
        "sweep: payments due": partial(payments.due_payments, 1000),
        "sweep: payments decided": partial(payments.decided_payments, 1000),
        "sweep: events": partial(payments.confirm_events, 100),
        "sweep: refunds": partial(payments.process_refunds, 1000),
        "sweep: effects": partial(outbox.lock_effects, 100),
        "sweep: effects but of an item": partial(outbox.lock_effects, 100, [item]),
        "sweep: items": inventory.watched_items,
        "sweep: versions": partial(inventory.gate_versions, shop.items),
        "put off": partial(services.put_off, shop.waiting[0]),
        "close a letter": partial(dead_letters.close_of, "tasks.create_orders", [["x"]], actor="plan"),
        "the refund of a payment": lambda: list(Refund.objects.filter(payment_id=shop.payments[0])),
    }


def _admitted(item, customer):
    return AdmittedOrder(
        id=new_uuid(),
        item=item,
        customer=customer,
        sku="plan",
        units=1,
        price="10.00",
        currency="EUR",
        source="fresh",
        seq=str(customer),
        digest="a" * 64,
        method="pm_ok",
        at=to_us(now()),
    )


def _customer_of(order):
    with connection.cursor() as cursor:
        cursor.execute("SELECT customer_id FROM orders_order WHERE id = %s", [order])
        return cursor.fetchone()[0]


def _pay(order):
    with suppress(NotPayable):
        services.pay(order, _customer_of(order), "pm_ok")


def _cancel(order):
    services.cancel(order, _customer_of(order))


class _Undone(Exception):
    pass


def statements(shop, *, analyze=False):
    """Every statement of every call, explained on the tables as they were filled.

    Args:
        analyze: carry each out, and measure; what it changed is undone.
    """
    for name, call in calls(shop).items():
        with CaptureQueriesContext(connection) as captured:
            _undone(call)
        for query in captured.captured_queries:
            if query["sql"].lstrip("( \n").split(None, 1)[0].upper() in ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE"):
                yield _explained(name, query["sql"], analyze)


def _explained(name, sql, analyze):
    found = []

    def explain():
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (FORMAT JSON{', ANALYZE, BUFFERS' if analyze else ''}) {sql.replace('%', '%%')}", ())
            found.extend(cursor.fetchone()[0])

    _undone(explain)
    [said] = found if isinstance(found, list) else json.loads(found)
    return Statement(name, sql, said["Plan"], said.get("Execution Time"))


def _undone(call):
    try:
        with transaction.atomic():
            call()
            raise _Undone
    except _Undone:
        pass
