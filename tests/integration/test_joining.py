"""Orders that come one after the other share batches: the first starts at once, the others collect."""

import time

import pytest

from flashsale.core.redis_client import gate_client
from inventory.admission import gate, keys
from orders.models import Order
from tasks.steps import dispatch
from tests.conftest import eventually, keep_asleep

pytestmark = pytest.mark.django_db(transaction=True)
LONG_US = 60_000_000  # no test lasts as long


def claim(item, *, linger_us=LONG_US, full=500, in_flight=1000):
    found = gate.claim(item.pk, consumer="c", limit=500, in_flight=in_flight, linger_us=linger_us, full=full)
    return found.entries, found.join_us


def pretend_the_last_batch_started(item, seconds_ago):
    gate_client().hincrby(keys.meta(item.pk), "batch_started", -seconds_ago * 1_000_000)


@pytest.fixture
def item(no_workers, make_item):
    return make_item(units=20, per_customer=20)


@pytest.fixture
def first(item, customer, order):
    """The entries of a batch that has just started."""
    order(item, customer)
    entries, join_us = claim(item)
    assert (len(entries), join_us) == (1, 0)
    return entries


def test_orders_soon_after_a_batch_join_with_one_wake_up(item, customer, order, first):
    order(item, customer)

    entries, join_us = claim(item)

    assert (entries, 0 < join_us <= LONG_US) == ([], True)
    assert claim(item) == ([], 0)  # somebody else sends the wake-up
    token = gate.issue_token(item.pk, customer.pk).token
    assert order(item, customer, token=token).wake is False
    seconds, micros = gate_client().time()
    gate_client().hset(keys.meta(item.pk), "joining_until", (seconds + 1) * 1_000_000 + micros)
    assert gate.ack(item.pk, first) is False  # nor does who acknowledges
    assert gate.waiting([item.pk]) == {item.pk: (2, 0)}


def test_when_the_time_is_over_and_the_chain_too_all_that_wait_are_one_batch(item, customer, order, first):
    for _ in range(3):
        order(item, customer)
    assert claim(item)[1] > 0
    gate.ack(item.pk, first)
    gate.end_batch(item.pk)

    pretend_the_last_batch_started(item, 60)
    gate_client().hset(keys.meta(item.pk), "joining_until", 1)

    entries, join_us = claim(item)
    assert (len(entries), join_us) == (3, 0)
    assert claim(item) == ([], 0)


def test_a_whole_batch_waits_for_nobody_even_while_others_joined(item, customer, order, first):
    order(item, customer)
    assert claim(item, full=2)[1] > 0
    order(item, customer)

    entries, _ = claim(item, full=2)

    assert len(entries) == 2


def test_while_the_chain_of_a_batch_is_under_way_orders_collect(item, customer, order, first):
    order(item, customer)
    pretend_the_last_batch_started(item, 61)

    entries, join_us = claim(item)

    assert (entries, 0 < join_us <= LONG_US) == ([], True)
    gate.ack(item.pk, first)  # which is not its end
    assert 0 < gate.may_start(item.pk, linger_us=LONG_US, full=500) <= LONG_US
    assert claim(item) == ([], 0)  # whoever asked sends the wake-up
    gate.end_batch(item.pk)
    assert gate.may_start(item.pk, linger_us=LONG_US, full=500) == 0


def test_orders_that_have_become_a_whole_batch_do_not_wait_for_the_chain_before(item, customer, order, first):
    order(item, customer)
    assert claim(item, full=3)[1] > 0
    order(item, customer)

    assert gate.may_start(item.pk, linger_us=LONG_US, full=3) == 0


def test_a_chain_that_never_ends_keeps_nobody_back_longer_than_ten_times(item, customer, order, first):
    order(item, customer)
    pretend_the_last_batch_started(item, 600)

    assert gate.may_start(item.pk, linger_us=LONG_US, full=500) == 0


def test_a_batch_that_the_previous_release_claimed_starts_the_next_by_its_acknowledgement(item, customer, order, first):
    gate_client().hdel(keys.meta(item.pk), "under_way")
    order(item, customer)
    pretend_the_last_batch_started(item, 61)

    assert claim(item) == ([], 0)

    assert gate.ack(item.pk, first) is True
    assert len(claim(item)[0]) == 1


def test_unacknowledged_batch_delays_the_next_tenfold_at_most(item, customer, order, first):
    order(item, customer)
    pretend_the_last_batch_started(item, 600)

    assert len(claim(item)[0]) == 1


def test_a_clock_that_was_set_back_keeps_no_order_back(item, customer, order, first):
    order(item, customer)
    pretend_the_last_batch_started(item, -3600)
    gate_client().hset(keys.meta(item.pk), "joining_until", 9_999_999_999_999_999)

    assert len(claim(item)[0]) == 1


def test_without_a_linger_every_order_is_a_batch(item, customer, order, first):
    order(item, customer)

    assert len(claim(item, linger_us=0)[0]) == 1


@pytest.mark.slow
def test_the_dispatcher_wakes_itself_for_those_who_wait(item, customer, order, settings, monkeypatch):
    settings.DISPATCH_LINGER_MS = 1000
    woken = []
    monkeypatch.setattr("flashsale.core.messages.publish", lambda *message, **_: woken.append(message))
    started = []
    monkeypatch.setattr("tasks.steps.pipeline.start_chain", lambda item, entries: started.append(len(entries)))
    keep_asleep(item)
    order(item, customer)
    dispatch.dispatch.run(item.pk)
    gate.end_batch(item.pk)
    keep_asleep(item)
    order(item, customer)

    dispatch.dispatch.run(item.pk)
    dispatch.dispatch.run(item.pk)

    assert started == [1]
    eventually(lambda: woken, within=3)
    assert woken == [("tasks.dispatch", item.pk)]


@pytest.mark.timed
def test_two_hundred_orders_a_second_are_a_batch_every_25_ms_at_most(workers, make_item, customers, order):
    item = make_item(units=200, per_customer=200)
    buyers = customers(2)
    began = time.monotonic()

    for number in range(200):
        time.sleep(max(0.0, began + number * 0.005 - time.monotonic()))
        order(item, buyers[number % 2])

    paid = Order.objects.filter(item=item, status="paid")
    eventually(lambda: paid.count() == 200, within=20)
    took_s = time.monotonic() - began
    batches = paid.values("created_at").distinct().count()  # the rows of a batch are made in one transaction
    assert batches <= min(1 + took_s / 0.025, 100)
