"""What dies or gets lost is made good: no order lost, no unit sold twice. Killed processes and servers: tests/crash."""

import threading
from datetime import timedelta

import pytest
import redis
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import F
from kombu.exceptions import OperationalError as MessageNotSent

from flashsale.core.clock import now
from flashsale.core.errors import Unavailable
from flashsale.core.redis_client import gate_client
from inventory.admission import gate, keys
from inventory.errors import GateUnavailable
from inventory.models import Sale, SaleItem
from orders import placement, services
from orders.models import EffectBatch, Intake, Order
from payments import services as payments
from payments.models import Payment, SandboxCharge
from tasks import sweeps
from tasks.models import DeadLetter
from tasks.repair import dead_letters
from tasks.repair.audit import audit
from tasks.repair.rebuild import rebuild_gate
from tasks.steps import create_orders, deduct_inventory, pipeline, request_payments
from tasks.steps.dispatch import dispatch
from tests.conftest import asked, eventually, keep_asleep

pytestmark = pytest.mark.django_db(transaction=True)


def statuses():
    return sorted(Order.objects.values_list("status", flat=True))


def assert_settled(count, status="paid"):
    eventually(lambda: statuses() == [status] * count, within=30, what=lambda: statuses())
    report = eventually(lambda: (r := audit()) and not r.in_flight and r)
    assert report.is_clean, [check for check in report.checks if check.breaches]


@pytest.fixture
def silent(monkeypatch):
    """The broker loses every message that this process sends."""
    with redis.Redis.from_url(settings.CELERY_BROKER_URL) as broker:
        yield lambda: broker.delete(*settings.QUEUES)


def test_a_lost_wake_up_is_made_good_within_two_seconds(workers, sweeper, make_item, customer, order, silent):
    item = make_item()
    admission = order(item, customer)
    silent()

    eventually(lambda: Order.objects.filter(pk=admission.order_id, status="paid").exists(), within=6)

    assert_settled(1)


def test_sweeps_send_no_more_wake_ups_than_a_hundred_that_wait(no_workers, make_item, customer, order):
    item = make_item()
    order(item, customer)
    with redis.Redis.from_url(settings.CELERY_BROKER_URL) as broker:
        for _ in range(99):
            pipeline.wake(item.pk)
        assert broker.llen("dispatch") == 100

        for _ in range(3):
            sweeps.waiting_orders()
        assert broker.llen("dispatch") == 100

        broker.delete("dispatch")
        sweeps.waiting_orders()
        assert broker.llen("dispatch") == 1


STEPS = ("claimed", "deducted", "acknowledged", "created", "requested", "charged")


def test_a_chain_that_dies_after_any_step_is_driven_on_by_the_sweeps(workers, make_item, customers, order, request):
    """Of each item the steps are done here up to one and then nothing: as if the worker had been killed there."""
    buyers = customers(3)
    items = {step: make_item(units=10, slug=step) for step in STEPS}
    for step, item in items.items():
        keep_asleep(item)
        for buyer in buyers:
            order(item, buyer)
        die_after(step, item)

    request.getfixturevalue("sweeper")
    assert_settled(3 * len(STEPS))

    for step, item in items.items():
        asked = Payment.objects.filter(order_id__in=Order.objects.filter(item=item).values("pk")).values("idempotency_key")
        item.refresh_from_db()
        charges = SandboxCharge.objects.filter(idempotency_key__in=asked).count()
        assert (charges, item.available, item.reserved, item.sold) == (3, 7, 0, 3), step
    assert SandboxCharge.objects.count() == 3 * len(STEPS)


def die_after(step, item):
    claim = gate.claim(item.pk, consumer="dead", limit=10, in_flight=10)
    ids = [each.id for _, each in claim.entries]
    assert len(ids) == 3
    if STEPS.index(step) >= 1:
        services.deduct(item.pk, [each for _, each in claim.entries])
    if STEPS.index(step) >= 2:
        gate.ack(item.pk, claim.entries)
    if STEPS.index(step) >= 3:
        services.create(ids)
    if STEPS.index(step) >= 4:
        opened = services.request_payments(ids)
    if STEPS.index(step) >= 5:
        payments.record(asked(opened.others, opened.fresh), applied=False)


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

    rebuild_gate(item.pk)

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


def test_an_unreadable_entry_whose_claimer_died_is_buried_by_the_sweep(make_item):
    item = make_item(units=5)
    stream = keys.admitted(item.pk)
    entry = gate_client().xadd(stream, {"o": "not json"})
    gate.claim(item.pk, consumer="dead", limit=10, in_flight=10)
    gate_client().xclaim(stream, "ledger", "dead", 0, [entry], idle=10_000)

    sweeps.waiting_orders()

    assert DeadLetter.objects.get().task == "tasks.dispatch"
    assert gate.waiting([item.pk]) == {item.pk: (0, 0)}


def test_a_dead_letter_run_again_is_closed(make_item, workers):
    dead_letters.dead_letter("tasks.create_orders", [[]], ValueError("planted"), attempts=1)
    dead_letters.dead_letter("tasks.create_orders", [[]], ValueError("planted"), attempts=1)
    letter = DeadLetter.objects.get()
    assert letter.attempts == 2

    dead_letters.run_again(letter, "staff")

    letter.refresh_from_db()
    assert (letter.resolved_by, letter.resolved_at is not None) == ("staff", True)


def test_an_order_that_only_a_lost_gate_knows_is_not_said_to_be_unknown(make_item, customer, order, stack):
    item = make_item()
    keep_asleep(item)
    admission = order(item, customer)
    gate_server = stack.servers["REDIS_URL"]

    gate_server.kill()
    try:
        with pytest.raises(Unavailable):
            placement.order_of(customer.pk, admission.order_id)
    finally:
        gate_server.start()

    assert placement.order_of(customer.pk, admission.order_id)["status"] == "queued"


def test_with_postgresql_away_an_order_that_somebody_claimed_is_not_called_queued(make_item, customers, order, stack):
    item = make_item()
    keep_asleep(item)
    claimed, waiting = customers(2)
    admissions = [order(item, claimed)]
    claim = gate.claim(item.pk, consumer="c", limit=10, in_flight=10)
    services.deduct(item.pk, [each for _, each in claim.entries])  # and never acknowledged
    keep_asleep(item)
    admissions.append(order(item, waiting))
    assert placement.order_of(claimed.pk, admissions[0].order_id)["status"] == "reserved"
    database = stack.servers["DATABASE_URL"]
    connection.close()

    database.kill()
    try:
        with pytest.raises(DatabaseError):
            placement.order_of(claimed.pk, admissions[0].order_id)
        assert placement.order_of(waiting.pk, admissions[1].order_id)["status"] == "queued"
        dispatch(item.pk)  # leaves it where its customer can be told what it is
        assert gate.waiting([item.pk]) == {item.pk: (1, 1)}
        assert placement.order_of(waiting.pk, admissions[1].order_id)["status"] == "queued"
    finally:
        database.start()
        connection.close()

    def is_claimed():
        dispatch(item.pk)  # the wake-up that was sent for later; a batch that is never acknowledged is waited for a moment
        return gate.waiting([item.pk]) == {item.pk: (0, 2)}

    eventually(is_claimed)


def test_without_a_broker_orders_need_no_message_or_dead_letter(make_item, customer, order, stack):
    item = make_item(window_s=600)
    keep_asleep(item)
    admission = order(item, customer, method="")
    claim = gate.claim(item.pk, consumer="c", limit=10, in_flight=10)
    broker = stack.servers["CELERY_BROKER_URL"]

    broker.kill()
    try:
        pipeline.start_chain(item.pk, claim.entries)
        ids = deduct_inventory.deduct_inventory.run(item.pk, [[pk, each.as_payload()] for pk, each in claim.entries])
        request_payments.request_payments.run(create_orders.create_orders.run(ids))
        create_orders.create_orders.on_failure(MessageNotSent("away"), "id", [ids], {}, None)
    finally:
        broker.start()

    assert Order.objects.get(pk=admission.order_id).status == "pending_payment"
    assert not DeadLetter.objects.exists()


def test_a_batch_deducted_twice_at_once_is_taken_over_once(make_item, customer, order):
    """The second one comes while the first makes rows of the orders: it must not put them into the intake again."""
    item = make_item(units=1)
    keep_asleep(item)
    gate_client().set(keys.stock(item.pk), 2)
    batch = _admitted(item, customer, order)
    second = threading.Thread(target=_deduct_alone, args=(item.pk, batch))

    with transaction.atomic():
        services.deduct(item.pk, batch)
        services.create([each.id for each in batch])
        second.start()
        eventually(_somebody_waits_for_a_lock)
    second.join()

    assert statuses() == ["rejected", "reserved"]
    assert not Intake.objects.exists()


def _admitted(item, customer, order):
    SaleItem.objects.filter(pk=item.pk).update(per_customer=2, gate_version=F("gate_version") + 1)
    gate_client().hset(keys.meta(item.pk), "per_customer", 2)
    for _ in range(2):
        order(item, customer)
    return [each for _, each in gate.claim(item.pk, consumer="c", limit=10, in_flight=10).entries]


def _deduct_alone(item, batch):
    services.deduct(item, batch)
    connection.close()


def _somebody_waits_for_a_lock():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        return cursor.fetchone()[0] > 0


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
        request_payments.charge_and_apply(opened[0].others, opened[0].fresh)
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
    assert not EffectBatch.objects.exists()
    item.refresh_from_db()
    assert (item.available, item.reserved) == (5, 0)


def test_sweeps_drive_on_a_step_that_outlasted_its_retries(make_item, customer, order, stack):
    item = make_item()
    keep_asleep(item)
    admission = order(item, customer)
    claim = gate.claim(item.pk, consumer="c", limit=10, in_flight=10)
    ids = deduct_inventory.deduct_inventory.run(item.pk, [[pk, each.as_payload()] for pk, each in claim.entries])
    create_orders.create_orders.run(ids)
    server = stack.servers["REDIS_URL"]

    server.kill()
    try:
        last = request_payments.request_payments.apply(args=[ids], retries=request_payments.request_payments.max_retries)
    finally:
        server.start()

    assert (type(last.result), DeadLetter.objects.count()) == (GateUnavailable, 0)
    assert (Order.objects.get(pk=admission.order_id).status, EffectBatch.objects.count()) == ("paid", 1)
    sweeps.run_all()
    assert not EffectBatch.objects.exists()
    assert_settled(1)
