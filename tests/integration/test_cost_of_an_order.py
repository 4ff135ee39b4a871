"""What a batch costs, counted exactly: whoever changes a number here does so knowingly.

Fifty paid orders of one item, driven through the steps in this process. No time is measured.
"""

import base64
import json
from collections import Counter
from contextlib import contextmanager

import pytest
import redis
from django.conf import settings
from django.db import connection

from flashsale.core import messages
from flashsale.core.redis_client import gate_client
from orders.models import Order
from tasks.steps import create_orders, deduct_inventory, dispatch, pipeline, request_payments
from tests.conftest import eventually, keep_asleep

pytestmark = pytest.mark.django_db(transaction=True)
ORDERS = 50
OF_THE_WAY = (
    "orders_order",
    "orders_eventline",
    "orders_intake",
    "orders_gateeffect",
    "orders_effectbatch",
    "payments_payment",
    "payments_sandboxcharge",
    "inventory_stockmovement",
    "inventory_saleitem",
)


@pytest.fixture
def batch_of(make_item, customers, order):
    """Makes an item of which so many orders wait at the gate; nobody is woken for them."""
    buyers = customers(2)

    def make(count, slug):
        item = make_item(units=count, per_customer=count, slug=slug, sku=slug)
        for number in range(count):
            keep_asleep(item)
            order(item, buyers[number % 2])
        return item

    return make


class Costs:
    """Statements of PostgreSQL and trips to the gate, by step."""

    def __init__(self) -> None:
        self.statements: Counter[str] = Counter()
        self.trips: Counter[str] = Counter()
        self.step = ""

    @contextmanager
    def of(self, step):
        def count(execute, *statement):
            self.statements[step] += 1
            return execute(*statement)

        self.step = step
        with connection.execute_wrapper(count):
            yield
        self.step = ""


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A message that a busy machine does not send in time would be none."""
    monkeypatch.setattr(messages, "WAIT_S", 10.0)
    monkeypatch.setattr(messages, "_sender", messages._Sender())
    monkeypatch.setattr(messages, "_TRANSPORT", messages._TRANSPORT | {"socket_connect_timeout": 10.0, "socket_timeout": 10.0})


@pytest.fixture
def costs(monkeypatch):
    counted = Costs()
    gate_port = gate_client().connection_pool.connection_kwargs["port"]
    send = redis.connection.AbstractConnection.send_packed_command

    def count(self, *args, **kwargs):
        if counted.step and getattr(self, "port", None) == gate_port:
            counted.trips[counted.step] += 1
        return send(self, *args, **kwargs)

    monkeypatch.setattr(redis.connection.AbstractConnection, "send_packed_command", count)
    monkeypatch.setattr(request_payments._Speed, "per_payment_s", 1e-6)  # as after the first batch: all are asked at once
    return counted


def row_versions():
    """Row versions written so far, by table: inserted, updated and deleted."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables WHERE relname = ANY(%s)",
            [list(OF_THE_WAY)],
        )
        return Counter(dict(cursor.fetchall()))


def played(item, costs):
    """The steps of one batch, in this process; the chain's first message is taken from the broker."""
    with redis.Redis.from_url(settings.CELERY_BROKER_URL) as broker:
        with costs.of("dispatch"):
            dispatch.dispatch.run(item.pk)
        [message] = broker.lrange("inventory", 0, -1)
        broker.delete("inventory")
        _, batch = json.loads(base64.b64decode(json.loads(message)["body"]))[0]
        with costs.of("deduct"):
            ids = deduct_inventory.deduct_inventory.run(item.pk, batch)
        with costs.of("create"):
            ids = create_orders.create_orders.run(ids)
        request_payments._Speed.per_payment_s = 1e-6  # a slow machine asks about all at once too
        with costs.of("request"):
            request_payments.request_payments.run(ids)
        assert [queue for queue in ("inventory", "orders", "payments", "cancellations") if broker.llen(queue)] == []
    assert Order.objects.filter(item=item, status="paid").count() == len(batch)


def test_statements_trips_and_row_versions_of_a_batch_of_fifty(no_workers, batch_of, costs):
    played(batch_of(1, "warm"), Costs())  # loads scripts, rules and content types
    item = batch_of(ORDERS, "counted")
    before = row_versions()

    played(item, costs)

    written = row_versions() - before
    assert dict(written) == {
        "orders_order": 3 * ORDERS,  # reserved, pending_payment, paid
        "orders_intake": 2 * ORDERS,
        "inventory_stockmovement": 2 * ORDERS,
        "payments_payment": 2 * ORDERS,  # asked about, succeeded
        "payments_sandboxcharge": ORDERS,  # the provider's own book
        "orders_effectbatch": 2,
        "inventory_saleitem": 2,
    }
    assert written.total() == 10 * ORDERS + 4
    assert dict(costs.statements) == {"dispatch": 1, "deduct": 4, "create": 3, "request": 11}
    assert dict(costs.trips) == {"dispatch": 3, "deduct": 1, "request": 2}


def test_a_batch_of_fifty_is_four_messages(workers, batch_of):
    with redis.Redis.from_url(settings.CELERY_BROKER_URL) as broker:

        def sent():
            return broker.info("commandstats").get("cmdstat_lpush", {}).get("calls", 0)

        item = batch_of(ORDERS, "counted")
        before = sent()

        pipeline.wake(item.pk)

        eventually(lambda: Order.objects.filter(item=item, status="paid").count() == ORDERS, within=20)
        assert sent() - before == 4  # the wake-up, and one for each step
