"""Units of unpaid orders are back on sale at once when their deadline has come, whoever notices it first."""

import base64
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection, transaction

from flashsale.core.clock import now
from flashsale.core.redis_client import gate_client
from inventory.admission import gate, keys
from orders import services
from orders.models import EffectBatch, Order
from tasks.repair.audit import audit
from tasks.steps import cancel_unpaid, gate_effects
from tests.conftest import Process, eventually
from tests.integration.test_messages import queued

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def overdue(make_item, customers, order):
    """An item of 60 units, all of them with orders whose deadline has just passed."""
    item = make_item(units=60, per_customer=60)
    gate_client().hset(keys.meta(item.pk), "awake_until", 9_999_999_999_999_999)
    [buyer] = customers(1)
    for _ in range(60):
        order(item, buyer, method="")
    entries = gate.claim(item.pk, consumer="c", limit=100, in_flight=100).entries
    ids = services.deduct(item.pk, [each for _, each in entries])
    services.create(ids)
    gate.ack(item.pk, entries)
    services.request_payments(ids)
    Order.objects.update(expires_at=now())
    return item


def elsewhere(work):
    """What ``work()`` gives on a connection of its own."""

    def run():
        try:
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result()


def test_the_first_message_that_comes_due_works_for_all(overdue):
    cancel_unpaid.cancel_unpaid([str(Order.objects.first().pk)], now().isoformat())

    assert set(Order.objects.values_list("status", "reason")) == {("cancelled", "payment_timeout")}
    assert gate.stocks([overdue.pk]) == {overdue.pk: 60}
    assert not EffectBatch.objects.exists()
    assert audit().is_clean


def test_a_message_that_comes_early_cancels_nothing(overdue):
    due = now().replace(year=now().year + 1)
    Order.objects.update(expires_at=due)

    cancel_unpaid.cancel_unpaid([str(Order.objects.first().pk)], due.isoformat())

    assert not Order.objects.filter(status="cancelled").exists()


def test_the_delayed_message_names_no_order_and_costs_the_queue_the_whole_batch(no_workers, overdue):
    due = now() + timedelta(hours=1)

    cancel_unpaid.schedule([(order.pk, due) for order in Order.objects.all()])

    [message] = queued("cancellations")
    assert json.loads(base64.b64decode(message["body"]))[0] == [[], due.isoformat()]
    assert message["headers"]["units"] == 60


@pytest.mark.parametrize(("ids", "units"), [(["a", "b", "c"], 3), ([], 7)], ids=["of the previous release", "of this one"])
def test_a_message_that_comes_early_is_sent_again_for_its_deadline(no_workers, overdue, ids, units):
    due = now() + timedelta(hours=1)

    cancel_unpaid.cancel_unpaid.push_request(units=units)
    cancel_unpaid.cancel_unpaid.run(ids, due.isoformat())
    cancel_unpaid.cancel_unpaid.pop_request()

    [message] = queued("cancellations")
    assert json.loads(base64.b64decode(message["body"]))[0] == [[], due.isoformat()]
    assert message["headers"]["units"] == units


def test_many_drains_at_once_give_every_unit_back_once(overdue):
    start = threading.Barrier(4)

    def drain():
        start.wait()
        cancel_unpaid.drain()
        connection.close()

    threads = [threading.Thread(target=drain) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gate_effects.apply()

    assert gate.stocks([overdue.pk]) == {overdue.pk: 60}
    overdue.refresh_from_db()
    assert (overdue.available, overdue.reserved) == (60, 0)
    assert audit().is_clean


def test_an_order_that_somebody_is_at_does_not_hold_the_others_up(overdue):
    held = Order.objects.first().pk
    with transaction.atomic():
        Order.objects.select_for_update().get(pk=held)
        elsewhere(cancel_unpaid.drain)

    assert list(Order.objects.filter(status="pending_payment").values_list("pk", flat=True)) == [held]
    cancel_unpaid.drain()
    assert gate.stocks([overdue.pk]) == {overdue.pk: 60}


def test_effects_that_another_process_is_at_are_left_to_it(overdue):
    services.cancel_unpaid(100)
    with transaction.atomic():
        assert sum(len(effect.orders) for effect in services.lock_effects(100)) == 60
        told = elsewhere(gate_effects.apply)

    assert told == 0
    assert gate_effects.apply() == 60


@pytest.mark.slow
def test_a_sweep_that_waits_does_not_delay_the_units(overdue):
    """The sweep of gates waits for a locked table, 5 s; the sweep of unpaid orders goes on beside it."""
    Order.objects.update(expires_at=now() + timedelta(hours=1))
    gate_client().delete(keys.meta(overdue.pk))
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("LOCK TABLE tasks_gatemend IN ACCESS EXCLUSIVE MODE")
        sweeper = Process("sweeper", "python", "manage.py", "sweep")

        def is_waiting():
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'tasks_gatemend'::regclass")
            return cursor.fetchone()[0]

        try:
            eventually(is_waiting, within=20)
            elsewhere(lambda: Order.objects.update(expires_at=now()))
            eventually(lambda: Order.objects.filter(status="cancelled").count() == 60, within=4)
            assert is_waiting()
        finally:
            sweeper.kill()
