"""One order that the ledger cannot take: it ends alone as rejected, by itself or by staff, the rest of its batch settles."""

import json

import pytest
from celery import current_app
from django.contrib.auth import get_user_model
from django.db import connection

from flashsale.core.redis_client import gate_client
from inventory.admission import gate, keys
from orders import placement, services
from orders.models import Intake, Order
from payments.models import SandboxCharge
from tasks.models import DeadLetter
from tasks.repair import poison as poison_task
from tasks.repair.audit import audit
from tasks.steps import deduct_inventory, dispatch
from tests.conftest import eventually
from tests.crash.scene import open_sale

pytestmark = pytest.mark.django_db(transaction=True)
BATCH = 50
BAD = 31


@pytest.fixture
def batch():
    """Fifty admitted orders of one sale, and nobody woken."""
    sale = open_sale("poison", customers=BATCH, units=BATCH)
    sale.sleep()
    for customer in sale.customers:
        placement.place_order(customer, sale.request(customer, "pm_ok"))
    return sale


def rewrite(sale, change):
    """Put ``change(line)`` where the bad order's line stands in the stream; the order of the batch stays."""
    stream = keys.admitted(sale.item)
    lines = [fields["o"] for _, fields in gate_client().xrange(stream)]
    gate_client().delete(stream)
    for number, line in enumerate(lines):
        gate_client().xadd(stream, {"o": change(line) if number == BAD else line})


def with_value(name, value):
    return lambda sale: rewrite(sale, lambda line: json.dumps(json.loads(line) | {name: value}))


def without_its_customer(sale):
    get_user_model().objects.filter(pk=sale.customers[BAD]).delete()


CREATE, DEDUCT, DISPATCH = "tasks.create_orders", "tasks.deduct_inventory", "tasks.dispatch"
BY_STAFF = "staff"
POISONS = {
    "a customer who is gone": (CREATE, BY_STAFF, without_its_customer),
    "a source over its column": (CREATE, CREATE, with_value("source", "x" * 33)),
    "a digest over its column": (CREATE, CREATE, with_value("digest", "x" * 65)),
    "no units": (DEDUCT, DEDUCT, with_value("units", 0)),
    "more units than a number holds": (CREATE, CREATE, with_value("units", 3_000_000_000)),
    "a text that PostgreSQL cannot hold": (DEDUCT, DEDUCT, with_value("sku", "thi\0ng")),
    "a line that is no JSON": (DISPATCH, BY_STAFF, lambda sale: rewrite(sale, lambda line: line + "}")),
    "a line that names no order": (DISPATCH, BY_STAFF, lambda sale: rewrite(sale, lambda line: line[:2])),
}


@pytest.mark.parametrize("poison", POISONS)
def test_a_poisoned_order_ends_alone_and_its_unit_returns(poison, workers, sweeper, batch):
    task, by, spoil = POISONS[poison]
    customer = batch.customers[BAD]
    bad = gate.queued_of([batch.item], customer)[0].id
    spoil(batch)

    dispatch.dispatch.delay(batch.item)
    eventually(lambda: Order.objects.filter(status="paid").count() == BATCH - 1, within=30)
    letter = eventually(lambda: DeadLetter.objects.first())
    assert DeadLetter.objects.count() == 1
    assert Order.objects.exclude(reason="poisoned").count() == SandboxCharge.objects.count() == BATCH - 1
    eventually(lambda: gate.waiting([batch.item]) == {batch.item: (0, 0)})
    if by == BY_STAFF:
        assert letter.resolved_at is None
        assert [each.payload["customer"] for each in Intake.objects.all()] == [customer] * (task == CREATE)
        assert poison_task.reject(letter, BY_STAFF) == [bad]

    assert placement.order_of(customer, bad)["status"] == "rejected"
    assert [order["status"] for order in placement.orders_of(customer, [batch.item])[0]] == ["rejected"]
    assert_clean(batch)
    letter.refresh_from_db()
    assert (letter.task, letter.resolved_by, letter.resolved_at is not None) == (task, by, True)
    assert poison_task.reject(letter, "somebody else") == []
    for _ in range(2):
        run_an_old_copy(letter)
    assert_clean(batch)
    assert DeadLetter.objects.filter(resolved_at=None).count() == 0
    seen = gate.snapshot(batch.item)
    assert (seen.stock, seen.held, seen.sold, customer in seen.buyers) == (1, {}, BATCH - 1, False)
    assert gate_client().exists(keys.queued(batch.item)) == 0


def assert_clean(sale):
    report = eventually(lambda: (r := audit(sale.slug)) and not r.in_flight and r)
    assert report.is_clean, [check for check in report.checks if check.breaches]


def run_an_old_copy(letter):
    """As the broker would, when it delivers the message again."""
    if not letter.is_unreadable:
        current_app.tasks[letter.task].run(*letter.args)


def test_an_unreadable_line_whose_claimer_died_does_not_stay_in_the_stream(workers, sweeper, batch):
    rewrite(batch, lambda line: "{")
    gate.claim(batch.item, consumer="dead", limit=BATCH, in_flight=BATCH)

    eventually(lambda: Order.objects.filter(status="paid").count() == BATCH - 1, within=30)
    eventually(lambda: gate.waiting([batch.item]) == {batch.item: (0, 0)})
    assert DeadLetter.objects.get().task == "tasks.dispatch"


class Statements:
    """Counts the statements that start so; each transaction of a step has one of them."""

    def __init__(self, start):
        self.start, self.count = start, 0

    def __call__(self, execute, sql, params, many, context):
        self.count += sql.strip().startswith(self.start)
        return execute(sql, params, many, context)


def test_finding_the_bad_order_costs_transactions_in_the_logarithm_of_the_batch(batch):
    with_value("units", 0)(batch)
    entries = gate.claim(batch.item, consumer="test", limit=BATCH, in_flight=BATCH).entries
    deducting = Statements("WITH fresh AS")
    with connection.execute_wrapper(deducting):
        deduction = deduct_inventory.Deduction(batch.item)
        deduction.run(entries)
    taken = deduction.taken
    Intake.objects.filter(pk=taken[7][1].id).update(payload=taken[7][1].as_payload() | {"price": "1e15"})
    creating = Statements("DELETE FROM orders_intake")
    with connection.execute_wrapper(creating):
        created = services.create([order.id for _, order in taken])

    assert (len(taken), len(created.ids), len(created.poisoned)) == (BATCH, BATCH - 1, 1)
    assert 1 < deducting.count <= 13  # 2 log2(50) + 1
    assert 1 < creating.count <= 13
