"""The consumer side: one rate for a queue over all workers, in orders; what waits, waits in order and is not lost."""

import json
import socket
import time
from uuid import uuid4

import pytest
import redis
from celery import current_app
from django.conf import settings
from kombu import Connection

from flashsale.core.redis_client import gate_client
from flashsale.ratelimit.in_process import limiter, limits_client, rules_at, ruleset
from flashsale.ratelimit.rules import services as limits
from flashsale.ratelimit.rules.models import LimitRule
from flashsale.ratelimit.rules.publish import publish as publish_rules
from inventory.admission import gate, keys
from orders import services
from orders.models import Order, OrderEvent
from tasks.models import DeadLetter
from tasks.steps import create_orders, dispatch, pipeline, request_payments
from tasks.worker import taking
from tests.conftest import Process, eventually, running, start_worker, start_workers

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.timed]


@pytest.fixture
def pace():
    def set_pace(queue, **changes):
        fields = {"rate": 40, "max_wait_ms": 60_000, **changes}
        rule = LimitRule(
            name=f"consume-{queue}",
            applies_to=f"consume:{queue}",
            key="all",
            algorithm="leaky_bucket",
            on_limit="queue",
            **fields,
        )
        LimitRule.objects.all().delete()
        limits.save_rule(rule, actor="test")
        ruleset().forget()

    return set_pace


def two_workers():
    return start_workers(("one", ["orders"], 2), ("two", ["orders"], 2))


def test_two_workers_together_keep_the_queues_rate(pace, no_workers):
    pace("orders", rate=40)
    with running(*two_workers()):
        began = time.monotonic()
        for _ in range(81):
            create_orders.create_orders.apply_async(args=([str(uuid4())],))
        eventually(lambda: _empty("orders"), within=20)
        took = time.monotonic() - began

    assert 1.9 <= took <= 2.8  # 81 orders at 40 a second are 2 s


def _empty(queue):
    with redis.Redis.from_url(settings.CELERY_BROKER_URL) as broker:
        return broker.llen(queue) == 0 and broker.hlen("unacked") == 0


def test_a_batch_costs_as_many_units_as_it_has_orders(pace, no_workers):
    pace("orders", rate=50)
    with running(start_worker("one", ["orders"])):
        began = time.monotonic()
        for _ in range(4):
            create_orders.create_orders.apply_async(args=([str(uuid4()) for _ in range(25)],))
        eventually(lambda: _empty("orders"), within=20)
        took = time.monotonic() - began

    assert 1.2 <= took <= 2.5  # three batches wait half a second each


def _seconds_for(batches, orders):
    began = time.monotonic()
    for _ in range(batches):
        create_orders.create_orders.apply_async(args=([str(uuid4()) for _ in range(orders)],))
    eventually(lambda: _empty("orders"), within=20)
    return time.monotonic() - began


def test_batches_larger_than_what_may_wait_keep_the_rate(pace, no_workers):
    pace("orders", rate=200, max_wait_ms=100)
    with running(*two_workers()):
        assert 1.3 <= _seconds_for(batches=4, orders=100) <= 2.4  # half a second each, and the first leaves at once


def test_small_and_large_batches_in_turn_keep_the_rate(pace, no_workers):
    pace("orders", rate=100, max_wait_ms=500)
    with running(*two_workers()):
        began = time.monotonic()
        for orders in (10, 50) * 4:
            create_orders.create_orders.apply_async(args=([str(uuid4()) for _ in range(orders)],))
        eventually(lambda: _empty("orders"), within=20)
        took = time.monotonic() - began

    assert 1.5 <= took <= 3.2  # 240 orders less the last batch are 1.9 s; what a slot was too large for may be used at once


def test_batches_larger_than_the_bucket_are_booked_in_parts(pace, monkeypatch, no_workers):
    monkeypatch.setenv("BATCH_SIZE", "10")  # what a worker keeps room for
    pace("orders", rate=200, max_wait_ms=100)
    with running(start_worker("one", ["orders"])):
        assert 1.3 <= _seconds_for(batches=4, orders=100) <= 2.4


def test_a_worker_of_several_queues_loses_no_departure_of_a_slow_one(pace, no_workers):
    pace("orders", rate=40)
    with running(start_worker("one", ["orders", "payments", "cancellations"])):
        assert (
            1.6 <= _seconds_for(batches=21, orders=4) <= 3.2
        )  # a tenth of a second each; 20 s if each took a wait for messages


@pytest.mark.usefixtures("no_workers")
@pytest.mark.parametrize("change", ["removed", "raised"])
def test_rule_changed_during_a_booking_applies_within_a_second(pace, change, monkeypatch):
    monkeypatch.setenv("BATCH_SIZE", "10")
    pace("orders", rate=1, max_wait_ms=5_000)
    with running(start_worker("one", ["orders"])) as worker:
        for _ in range(3):
            create_orders.create_orders.apply_async(args=([str(uuid4()) for _ in range(30)],))
        eventually(lambda: _length("orders") == 2 and not _unacked("orders"))
        if change == "removed":
            LimitRule.objects.all().delete()
            publish_rules()
        else:
            pace("orders", rate=1_000, max_wait_ms=500)  # what was booked at the old rate is cut to it

        eventually(lambda: _empty("orders"), within=3)
        assert worker.popen.poll() is None


def test_a_queue_that_waits_long_does_not_keep_the_worker_from_its_other_queues(pace, no_workers):
    pace("orders", rate=1)
    with running(start_worker("one", ["orders", "payments"], concurrency=1)):
        for _ in range(4):
            create_orders.create_orders.apply_async(args=([str(uuid4()) for _ in range(5)],))
        eventually(lambda: limits_client().keys("fs:{limits}:consume-orders:*"))
        request_payments.charge_payments.apply_async(args=([str(uuid4())],))
        eventually(lambda: _length("payments") == 0 and not _unacked("payments"), within=4)
        assert _length("orders") >= 1  # they wait in the broker


def test_a_queue_that_waits_shortly_again_and_again_does_not_choke_the_workers_other_queues(pace, no_workers):
    pace("orders", rate=10)
    with running(start_worker("one", ["orders", "payments", "cancellations"], concurrency=2)):
        for _ in range(12):
            create_orders.create_orders.apply_async(args=([str(uuid4()) for _ in range(15)],))
        eventually(lambda: limits_client().keys("fs:{limits}:consume-orders:*"))
        for _ in range(60):
            request_payments.charge_payments.apply_async(args=([str(uuid4())],))
        eventually(lambda: _length("payments") == 0 and not _unacked("payments"), within=4)
        assert _length("orders") + len(_unacked("orders")) >= 8  # each of them waits a second and a half


@pytest.fixture
def taken_over(customers, make_item, order):
    """Makes N orders, in order of admission, that the ledger has taken over and that are no rows yet."""

    def make(count):
        item = make_item(units=count)
        ids = [order(item, buyer).order_id for buyer in customers(count)]
        _forget_messages()
        services.deduct(item.pk, gate.stream_orders(item.pk))
        gate_client().delete(keys.admitted(item.pk))
        return ids

    return make


def _forget_messages():
    with redis.Redis.from_url(settings.CELERY_BROKER_URL) as broker:
        broker.delete(*settings.QUEUES)


def _publish_batches(ids, size):
    for at in range(0, len(ids), size):
        create_orders.create_orders.apply_async(args=([str(pk) for pk in ids[at : at + size]],))


def _made(size):
    """The batches in the order in which they became rows; in a batch it is the ledger's."""
    made = list(Order.objects.order_by("created_at", "pk").values_list("pk", flat=True))
    return [set(made[at : at + size]) for at in range(0, len(made), size)]


def _in_batches(ids, size):
    return [set(ids[at : at + size]) for at in range(0, len(ids), size)]


def test_what_a_paused_queue_gives_back_keeps_its_place_and_is_made_once(pace, taken_over, no_workers):
    ids = taken_over(20)
    pace("orders", rate=10)
    with running(start_worker("one", ["orders", "payments"], concurrency=1)):
        _publish_batches(ids, 1)
        eventually(lambda: Order.objects.count() == 20, within=15)

    assert _made(1) == _in_batches(ids, 1)
    eventually(lambda: _empty("orders"))


def test_messages_returned_by_several_workers_keep_their_order_once():
    with current_app.connection_for_write() as connection:
        channel = connection.default_channel
        for moment in range(1, 5):
            connection.Producer().publish({}, routing_key="given-back", headers={"published": moment})
        first, second, third = (channel.basic_get("given-back") for _ in range(3))

        for message in (second, third, first, second):
            taking.put_back(message)

        taken = [channel.basic_get("given-back") for _ in range(4)]
        assert [message.headers["published"] for message in taken] == [1, 2, 3, 4]
        assert [message.delivery_info.get("redelivered") for message in taken] == [True, True, True, None]
        assert channel.basic_get("given-back") is None
        for message in taken:
            message.ack()


def test_a_worker_killed_while_it_waits_holds_nothing_and_all_batches_are_made_in_order(pace, taken_over, no_workers):
    ids = taken_over(60)
    pace("orders", rate=20, max_wait_ms=500)
    victim, heir = start_workers(*((name, ["orders", "payments"], 1) for name in ("victim", "heir")))
    with running(heir, victim):
        _publish_batches(ids[:3], 3)
        eventually(lambda: limits_client().keys("fs:{limits}:consume-orders:*"))
        _publish_batches(ids[3:], 3)
        eventually(lambda: Order.objects.count() >= 12 and not _unacked("orders"))
        victim.kill()
        waited = _length("orders")
        eventually(lambda: Order.objects.count() == 60, within=10)  # no sweep is there to help

    assert waited > 10
    assert _made(3) == _in_batches(ids, 3)
    assert _empty("orders")


def _length(queue):
    with redis.Redis.from_url(settings.CELERY_BROKER_URL) as broker:
        return broker.llen(queue)


def _unacked(queue):
    with redis.Redis.from_url(settings.CELERY_BROKER_URL) as broker:
        return [1 for raw in broker.hvals("unacked") if json.loads(raw)[2] == queue]


def test_a_worker_killed_while_a_batch_waits_loses_none(workers, pace, customers, make_item, order):
    item = make_item(units=5)
    pace("orders", rate=1)
    current_app.control.cancel_consumer("orders", destination=[f"test@{socket.gethostname()}"], reply=True)
    victim = start_worker("victim", ["orders"])
    create_orders.create_orders.apply_async(args=([str(uuid4()) for _ in range(30)],))
    eventually(lambda: limits_client().keys("fs:{limits}:consume-orders:*"))
    for buyer in customers(5):
        order(item, buyer)
    eventually(lambda: _length("orders") and not _unacked("orders"))
    victim.kill()
    current_app.control.add_consumer("orders", destination=[f"test@{socket.gethostname()}"], reply=True)
    LimitRule.objects.all().delete()
    publish_rules()

    with running(Process("sweeper", "python", "manage.py", "sweep")):
        eventually(lambda: Order.objects.filter(status="paid").count() == 5, within=25)

    item.refresh_from_db()
    assert (item.available, item.reserved, item.sold) == (0, 0, 5)
    assert not DeadLetter.objects.exists()


def test_the_dispatcher_makes_batches_of_what_it_is_granted(pace, customers, make_item, order, workers):
    item = make_item(units=30)
    pace("dispatch", rate=10, max_wait_ms=1_000)
    began = time.monotonic()
    for buyer in customers(30):
        order(item, buyer)

    eventually(lambda: Order.objects.filter(status="paid").count() == 30, within=15)

    assert time.monotonic() - began >= 1.8  # 30 orders at 10 a second, up to eleven of them at once


def test_two_items_under_a_tight_pace_progress_together(pace, customers, make_item, order, workers):
    items = [make_item(units=40, slug=name) for name in ("first", "second")]
    pace("dispatch", rate=20, max_wait_ms=200)
    apart = []
    for buyer in customers(40):
        for item in items:
            order(item, buyer)
        apart.append(_apart(items))

    def all_are_claimed():
        apart.append(_apart(items))
        return not any(unclaimed for unclaimed, _ in gate.waiting([item.pk for item in items]).values())

    eventually(all_are_claimed, within=15)
    assert max(apart) <= 10  # twice what the pace grants at once: 200 ms of 20 a second, and the one that leaves at once


def _apart(items):
    left = [unclaimed for unclaimed, _ in gate.waiting([item.pk for item in items]).values()]
    return abs(left[0] - left[1])


@pytest.fixture
def burst():
    """A produce rule of 100 orders at once and, in effect, none later; says how many are left."""
    rule = LimitRule(
        name="produce-inventory",
        applies_to="produce:inventory",
        key="all",
        algorithm="token_bucket",
        rate=1,
        window_ms=3_600_000,
        burst=100,
        on_limit="reject",
    )
    limits.save_rule(rule, actor="test")
    ruleset().forget()

    def left():
        rules = [(rule, "all") for rule in rules_at("produce:inventory")]
        return limiter().check(rules, mode="peek").answers[0].reading.remaining

    return left


def _nobody_is_woken(item):
    gate_client().hset(keys.meta(item.pk), "awake_until", 9_999_999_999_999_999)


def test_an_item_with_enough_batches_in_flight_burns_no_units_of_the_next_queue(
    settings, burst, customers, make_item, order, monkeypatch
):
    settings.BATCH_SIZE = 2
    monkeypatch.setattr(pipeline, "start_chain", lambda *_: None)  # or a worker of other tests would end what is in flight
    item = make_item(units=9)
    _nobody_is_woken(item)
    for buyer in customers(9):
        order(item, buyer)
    before = burst()
    gate.claim(item.pk, consumer="another", limit=1, in_flight=4)
    _nobody_is_woken(item)

    for _ in range(3):
        dispatch.dispatch.run(item.pk)

    assert gate.waiting([item.pk]) == {item.pk: (5, 4)}
    assert before - burst() == 3


def test_held_back_items_share_equally_the_longest_waiting_first():
    assert dispatch.share_out(10, {1: 1, 2: 9, 3: 9}) == {1: 1, 2: 5, 3: 4}
    assert dispatch.share_out(2, {1: 9, 2: 9, 3: 9}) == {1: 1, 2: 1, 3: 0}
    assert dispatch.share_out(0, {1: 9}) == {1: 0}
    assert dispatch.share_out(9, {1: 2, 2: 3}) == {1: 2, 2: 3}


def test_the_sweeps_keep_the_pace_of_a_queue_that_has_a_backlog(pace, taken_over, sweeper, no_workers):
    pace("orders", rate=8)
    with running(start_worker("one", ["orders"], concurrency=1)):
        ids = taken_over(60)
        began = time.monotonic()
        _publish_batches(ids, 1)  # a backlog before a sweep takes what stands still
        eventually(lambda: Order.objects.count() == 60, within=20)
        took = time.monotonic() - began

    assert took >= 6.5  # 60 orders at 8 a second


def test_sweeps_create_a_dead_workers_orders_once_at_the_pace(pace, taken_over, sweeper, no_workers):
    ids = taken_over(30)
    pace("orders", rate=10, max_wait_ms=400)
    victim = start_worker("victim", ["orders"], concurrency=1)
    for pk in ids:
        create_orders.create_orders.apply_async(args=([str(pk)],))
    eventually(lambda: _unacked("orders"))
    victim.kill()
    _forget_messages()
    rows = Order.objects.count()
    began = time.monotonic()
    eventually(lambda: Order.objects.count() == 30, within=25)

    assert time.monotonic() - began >= (30 - rows) / 10 - 1.5  # a sweep takes a bucket's room at once
    assert set(Order.objects.values_list("pk", flat=True)) == set(ids)
    assert OrderEvent.objects.filter(status="queued").count() == 30
    assert not DeadLetter.objects.exists()


def test_on_another_broker_a_message_is_put_back_by_that_brokers_own_means():
    with Connection("memory://") as broker, broker.SimpleQueue("orders") as queue:
        queue.put("batch")
        message = queue.get(timeout=5)

        taking.note_client_id(message.channel)
        taking.put_back(message)
        taking.look_again(message.channel)

        assert queue.get(timeout=5).payload == "batch"
