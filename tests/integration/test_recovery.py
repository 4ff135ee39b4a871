"""What dies or gets lost is made good: no order lost, no unit sold twice."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.core.management import call_command

from flashsale.core.clock import now
from flashsale.core.redis_client import gate_client
from inventory.admission import gate, keys
from inventory.models import Sale
from orders import services
from orders.models import GateEffect, Intake, Order
from payments import services as payments
from payments.models import Payment, SandboxCharge
from tasks import dead_letters, gate_sync, request_payments, sweeps
from tasks.audit import audit
from tasks.models import DeadLetter
from tests.conftest import eventually, start_worker

pytestmark = pytest.mark.django_db(transaction=True)


def statuses():
    return sorted(Order.objects.values_list("status", flat=True))


def keep_asleep(item):
    """Nobody is woken for this item: what the test does not do itself is left to the sweeps."""
    gate_client().hset(keys.meta(item.pk), "awake_until", 9_999_999_999_999_999)


def assert_settled(count, status="paid"):
    eventually(lambda: statuses() == [status] * count, within=30, what=lambda: statuses())
    report = eventually(lambda: (r := audit()) and not r.in_flight and r)
    assert report.is_clean, [check for check in report.checks if check.breaches]


@pytest.fixture
def silent(monkeypatch):
    """The broker loses every message that this process sends."""
    import redis

    with redis.Redis.from_url(settings.CELERY_BROKER_URL) as broker:
        yield lambda: broker.delete(*settings.QUEUES)


def test_a_lost_wake_up_is_made_good_within_two_seconds(workers, sweeper, make_item, customer, order, silent):
    item = make_item()
    admission = order(item, customer)
    silent()

    eventually(lambda: Order.objects.filter(pk=admission.order_id, status="paid").exists(), within=6)

    assert_settled(1)


STEPS = ("claimed", "deducted", "acknowledged", "created", "requested", "charged")


@pytest.mark.parametrize("step", STEPS)
def test_a_chain_that_dies_after_a_step_is_driven_on_by_the_sweeps(workers, sweeper, make_item, customers, order, silent, step):
    """The steps are done here up to ``step`` and then nothing: as if the worker had been killed there."""
    item = make_item(units=10)
    buyers = customers(3)
    keep_asleep(item)
    for buyer in buyers:
        order(item, buyer)
    claim = gate.claim(item.pk, consumer="dead", limit=10, in_flight=10)
    ids = [each.id for _, each in claim.entries]
    assert len(ids) == 3 or step == "claimed"

    if STEPS.index(step) >= 1:
        services.deduct(item.pk, [each for _, each in claim.entries])
    if STEPS.index(step) >= 2:
        gate.ack(item.pk, claim.entries)
    if STEPS.index(step) >= 3:
        services.create(ids)
    if STEPS.index(step) >= 4:
        opened = services.request_payments(ids)
    if STEPS.index(step) >= 5:
        payments.record(payments.ask(opened), applied=False)

    assert_settled(3)
    assert SandboxCharge.objects.count() == 3
    item.refresh_from_db()
    assert (item.available, item.reserved, item.sold) == (7, 0, 3)


def test_a_killed_worker_loses_no_order_and_sells_no_unit_twice(transactional_db, sweeper, make_item, customers, order):
    item = make_item(units=100)
    buyers = customers(60)
    doomed = start_worker("doomed")
    for buyer in buyers[:30]:
        order(item, buyer)
    eventually(lambda: Order.objects.exists() or Intake.objects.exists())

    doomed.kill()
    for buyer in buyers[30:]:
        order(item, buyer)
    fresh = start_worker("fresh")
    try:
        assert_settled(60)
    finally:
        fresh.stop()
    item.refresh_from_db()
    assert (item.available, item.reserved, item.sold) == (40, 0, 60)
    assert SandboxCharge.objects.count() == 60


def test_orders_are_admitted_while_postgresql_is_down_and_settle_when_it_is_back(
    workers, sweeper, make_item, customers, order, stack
):
    item = make_item(units=10)
    buyers = customers(3)
    server = stack.servers["DATABASE_URL"]
    from django.db import connection

    connection.close()
    server.kill()
    try:
        admissions = [order(item, buyer, sku="thing") for buyer in buyers]
    finally:
        server.start()

    assert not any(admission.replayed for admission in admissions)
    assert_settled(3)


def test_unpaid_orders_give_their_units_back_exactly_once(workers, sweeper, make_item, customers, order):
    item = make_item(units=3, window_s=1)
    for buyer in customers(3):
        order(item, buyer, method="")

    assert_settled(3, "cancelled")

    item.refresh_from_db()
    assert (item.available, item.reserved, item.sold) == (3, 0, 0)
    eventually(lambda: gate.stocks([item.pk]) == {item.pk: 3})


def test_a_lost_gate_is_rebuilt_from_ledger_and_sells_the_rest(workers, sweeper, make_item, customers, order):
    item = make_item(units=5)
    buyers = customers(4)
    order(item, buyers[0])
    order(item, buyers[1], method="")
    eventually(lambda: statuses() == ["paid", "pending_payment"])

    gate_client().flushall()

    seen = eventually(lambda: gate.snapshot(item.pk), within=5)
    assert (seen.stock, seen.sold, sum(units for _, units in seen.held.values())) == (3, 1, 1)
    assert seen.buyers == {buyers[0].pk: 1, buyers[1].pk: 1}


def test_a_rebuild_keeps_orders_that_only_the_stream_knows(make_item, customer, order):
    item = make_item(units=5)
    keep_asleep(item)
    admission = order(item, customer)
    gate_client().delete(keys.meta(item.pk), keys.stock(item.pk), keys.held(item.pk), keys.buyers(item.pk))

    gate_sync.rebuild_gate(item.pk)

    seen = gate.snapshot(item.pk)
    assert (seen.stock, seen.held) == (4, {admission.order_id: (customer.pk, 1)})


def test_a_gate_that_promised_too_much_is_caught_by_the_ledger(workers, sweeper, make_item, customers, order):
    item = make_item(units=2)
    gate_client().set(keys.stock(item.pk), 4)
    for buyer in customers(4):
        order(item, buyer)

    eventually(lambda: statuses() == ["paid", "paid", "rejected", "rejected"])

    item.refresh_from_db()
    assert (item.available, item.sold) == (0, 2)
    assert set(Order.objects.filter(status="rejected").values_list("reason", flat=True)) == {"sold_out"}


def test_reconcile_reports_a_planted_drift_and_mends_it(make_item):
    item = make_item(units=5)
    gate_client().set(keys.stock(item.pk), 9)

    assert not audit().is_clean
    assert [drift.is_drift for drift in gate_sync.reconcile(dry_run=True)] == [True]
    assert gate.stocks([item.pk]) == {item.pk: 9}
    call_command("reconcile")

    assert gate.stocks([item.pk]) == {item.pk: 5}
    assert audit().is_clean


def test_a_poisoned_order_stands_alone_in_the_dead_letters(workers, sweeper, make_item, customers, order, django_user_model):
    item = make_item(units=5)
    buyers = customers(3)
    keep_asleep(item)
    for buyer in buyers:
        order(item, buyer)
    django_user_model.objects.filter(pk=buyers[1].pk).delete()

    eventually(lambda: statuses() == ["paid", "paid"])

    letter = eventually(lambda: DeadLetter.objects.first())
    assert letter.task == "tasks.create_orders"
    assert Intake.objects.get().payload["customer"] == buyers[1].pk


def test_a_dead_letter_run_again_is_closed(make_item, workers):
    dead_letters.bury("tasks.create_orders", [[]], ValueError("planted"), attempts=1)
    dead_letters.bury("tasks.create_orders", [[]], ValueError("planted"), attempts=1)
    letter = DeadLetter.objects.get()
    assert letter.attempts == 2

    dead_letters.run_again(letter, "staff")

    letter.refresh_from_db()
    assert (letter.resolved_by, letter.resolved_at is not None) == ("staff", True)


def test_every_step_may_run_twice(make_item, customers, order):
    item = make_item(units=10)
    keep_asleep(item)
    for buyer in customers(2):
        order(item, buyer)
    claim = gate.claim(item.pk, consumer="c", limit=10, in_flight=10)
    batch = [each for _, each in claim.entries]

    for _ in range(2):
        ids = services.deduct(item.pk, batch)
        gate.ack(item.pk, claim.entries)
    for _ in range(2):
        services.create(ids)
    services.deduct(item.pk, batch)
    opened = [services.request_payments(ids) for _ in range(2)]
    for _ in range(2):
        request_payments.charge_and_apply(opened[0])
    sweeps.run_all()

    assert statuses() == ["paid", "paid"]
    assert Payment.objects.count() == SandboxCharge.objects.count() == 2
    report = audit()
    assert report.is_clean, report


def test_an_ended_sales_gate_goes_after_its_retention_and_effects_for_it_do_not_stay(make_item, customer, order, settings):
    item = make_item(units=5)
    keep_asleep(item)
    order(item, customer, method="")
    claim = gate.claim(item.pk, consumer="c", limit=10, in_flight=10)
    ids = services.deduct(item.pk, [each for _, each in claim.entries])
    gate.ack(item.pk, claim.entries)
    services.create(ids)
    services.request_payments(ids)
    Sale.objects.update(opens_at=now() - timedelta(days=3), closes_at=now() - timedelta(days=2))
    services.cancel(ids[0], customer.pk)

    sweeps.forget_gates()
    sweeps.run_all()

    lasting = {key for key in gate_client().scan_iter("fs:*") if gate_client().ttl(key) < 0}
    assert lasting == set()
    assert not GateEffect.objects.exists()
    item.refresh_from_db()
    assert (item.available, item.reserved) == (5, 0)
