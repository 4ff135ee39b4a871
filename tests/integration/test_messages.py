"""Sending: bounded whatever the broker does, by every thread at once, after a fork and after the broker's restart."""

import base64
import json
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from celery import current_app
from django.conf import settings

from flashsale.core import messages
from flashsale.core.breaker import CircuitBreaker

pytestmark = pytest.mark.django_db(transaction=True)
_SLACK_S = 0.25  # of a busy machine


@pytest.fixture(autouse=True)
def anew(no_workers, monkeypatch):
    monkeypatch.setattr(messages, "_sender", messages._Sender())


@pytest.fixture(params=["redis", "amqp"])
def mute_broker(request, monkeypatch):
    """It accepts connections, and says nothing for ever."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        url = f"{request.param}://guest:guest@127.0.0.1:{listener.getsockname()[1]}//"
        monkeypatch.setattr(current_app.conf, "broker_write_url", url.removesuffix("/") if request.param == "redis" else url)
        yield


def queued(queue="dispatch"):
    with redis.Redis.from_url(settings.CELERY_BROKER_URL) as broker:
        return [json.loads(raw) for raw in broker.lrange(queue, 0, -1)][::-1]


def timed(*args):
    began = time.monotonic()
    return messages.publish(*args), time.monotonic() - began


def test_a_message_goes_to_its_queue_with_version_units_and_time():
    assert messages.publish("tasks.create_orders", ["a", "b"], headers={"own": 1})

    [message] = queued("orders")
    headers = message["headers"]
    assert (headers["v"], headers["units"], headers["own"], headers["task"]) == (1, 2, 1, "tasks.create_orders")
    assert abs(headers["published"] / 1e6 - time.time()) < 10


@pytest.mark.timed
def test_a_hundred_threads_wait_for_a_mute_broker_no_longer_than_one(mute_broker):
    start = threading.Barrier(100)

    def publish(_):
        start.wait()
        return timed("tasks.dispatch", 1)

    with ThreadPoolExecutor(100) as crowd:
        found = list(crowd.map(publish, range(100)))
    later = [timed("tasks.dispatch", 1) for _ in range(100)]

    assert not any(sent for sent, _ in found + later)
    assert max(took for _, took in found) < messages.WAIT_S + _SLACK_S
    assert sum(took for _, took in later) < 2 * (messages.WAIT_S + _SLACK_S)
    with pytest.raises(messages.MessageNotSent):
        messages.waiting_in("dispatch")


@pytest.mark.slow
def test_refusing_broker_is_noticed_at_once_and_used_again(monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(current_app.conf, "broker_write_url", "redis://127.0.0.1:1")
        assert timed("tasks.dispatch", 1)[0] is False
        assert timed("tasks.dispatch", 1)[1] < 0.1
    deadline = time.monotonic() + 5
    while not messages.publish("tasks.dispatch", 2):
        assert time.monotonic() < deadline
    assert messages.waiting_in("dispatch") == len(queued()) == 1


def test_the_restart_of_the_broker_costs_no_message(stack):
    assert messages.publish("tasks.dispatch", 1)
    stack.servers["CELERY_BROKER_URL"].kill()
    stack.servers["CELERY_BROKER_URL"].start()

    assert messages.publish("tasks.dispatch", 2)

    assert len(queued()) >= 1


def test_a_forked_process_sends_on_a_connection_of_its_own():
    assert messages.publish("tasks.dispatch", 1)
    child = os.fork()
    if not child:
        deadline = time.monotonic() + 10  # a busy machine may take longer than anybody waits
        while not messages.publish("tasks.dispatch", 2) and time.monotonic() < deadline:
            time.sleep(0.1)
        os._exit(0 if time.monotonic() < deadline else 1)
    _, status = os.waitpid(child, 0)

    assert status == 0
    assert messages.publish("tasks.dispatch", 3)
    assert {json.loads(base64.b64decode(message["body"]))[0][0] for message in queued()} == {1, 2, 3}


def test_a_breaker_that_closes_while_somebody_asks_stays_closed():
    def clock():
        if breaker.state_is_read:
            breaker.state_is_read = False
            breaker.succeeded()  # by another thread, between this one's look at the state and its lock
        return moment[0]

    moment = [0.0]
    breaker = CircuitBreaker(failures=1, open_s=1.0, clock=clock)
    breaker.state_is_read = False
    breaker.failed()
    moment[0], breaker.state_is_read = 2.0, True

    assert breaker.may_ask()

    assert breaker.state == "closed"
    assert breaker.may_ask()


def test_one_of_many_threads_probes_a_breaker_that_is_half_open_and_none_fails_meanwhile():
    moment = [0.0]
    breaker = CircuitBreaker(failures=1, open_s=1.0, clock=lambda: moment[0])
    for turn in range(50):
        breaker.failed()
        moment[0] += 1.0
        start = threading.Barrier(8)

        def ask(start=start):
            start.wait()
            return breaker.may_ask(), breaker.retry_after_s(), breaker.state

        with ThreadPoolExecutor(8) as crowd:
            jobs = [crowd.submit(ask) for _ in range(8)]
        assert [job.result()[0] for job in jobs].count(True) == 1, turn
        breaker.succeeded()
        assert (breaker.state, breaker.retry_after_s(), breaker.may_ask()) == ("closed", 0.0, True)
