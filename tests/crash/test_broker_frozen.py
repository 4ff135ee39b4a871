"""The broker stands still (SIGSTOP): nobody who sends waits for it, and everything settles when it goes on."""

import time
from contextlib import contextmanager
from uuid import UUID

import psutil
import pytest
import redis
from django.conf import settings

from flashsale.core import messages
from inventory.admission import gate
from orders.models import Order
from tasks import sweeps
from tasks.models import DeadLetter
from tasks.repair import dead_letters
from tests.conftest import Process, eventually, running
from tests.crash.crowd import call
from tests.crash.scene import open_sale
from tests.crash.settled import assert_all_paid
from tests.crash.test_postgresql_away import buy

pytestmark = pytest.mark.django_db(transaction=True)
_BOUND_S = 0.5


@contextmanager
def frozen(stack):
    broker = psutil.Process(stack.servers["CELERY_BROKER_URL"].process.pid)
    broker.suspend()
    try:
        yield
    finally:
        broker.resume()


def timed(act, *args):
    began = time.monotonic()
    found = act(*args)
    return found, time.monotonic() - began


@pytest.mark.timed
def test_a_frozen_broker_delays_no_order_and_no_request_of_a_customer(live_url, workers, sweeper, stack):
    sale = open_sale("frozen broker", customers=22, units=50)
    *buyers, payer, canceller = sale.customers
    unpaid = {}
    for customer in (payer, canceller):
        _, (status, body, _) = buy(live_url, sale, customer, method="")
        assert status == 202
        unpaid[customer] = UUID(body["id"])
    eventually(lambda: Order.objects.filter(status="pending_payment").count() == 2)

    with frozen(stack):
        answers = []
        for customer in buyers:
            token = gate.issue_token(sale.item, customer).token
            sale.wake()
            answers.append(timed(buy, live_url, sale, customer, token))
        paid = timed(call, live_url, "POST", f"/api/v1/orders/{unpaid[payer]}/pay/", {"payment_method": "pm_ok"}, payer)
        cancelled = timed(call, live_url, "POST", f"/api/v1/orders/{unpaid[canceller]}/cancel/", {}, canceller)

    assert {answer[1][0] for answer, _ in answers} == {202}
    assert (paid[0][0], cancelled[0][0]) == (202, 200)
    assert max(took for _, took in [*answers, paid, cancelled]) < _BOUND_S
    assert_all_paid(sale, [*(UUID(answer[1][1]["id"]) for answer, _ in answers), unpaid[payer]])


def test_sweeps_and_staff_do_not_wait_for_a_frozen_broker(no_workers, make_item, customers, order, stack):
    item = make_item(units=5)
    for buyer in customers(3):
        order(item, buyer)
    dead_letters.dead_letter("tasks.create_orders", [[]], ValueError("planted"), attempts=1)
    letter = DeadLetter.objects.get()

    def run_again():
        with pytest.raises(messages.MessageNotSent):
            dead_letters.run_again(letter, "staff")

    with frozen(stack):
        for act in (sweeps.waiting_orders, run_again):
            assert timed(act)[1] < _BOUND_S

    letter.refresh_from_db()
    assert letter.resolved_at is None


def test_beat_goes_on_after_a_broker_that_stood_still_and_one_that_was_killed(no_workers, stack, tmp_path):
    command = ("celery", "-A", "flashsale", "beat", "--schedule", str(tmp_path / "beat"), "--pidfile=", "-l", "WARNING")
    server = stack.servers["CELERY_BROKER_URL"]

    def sends():
        with redis.Redis.from_url(settings.CELERY_BROKER_URL) as broker:
            broker.delete(*settings.QUEUES)
            eventually(lambda: broker.llen("dispatch") and broker.llen("cancellations"), within=20)
        return True

    with running(Process("beat", *command)) as beat:
        assert sends()
        with frozen(stack):
            eventually(lambda: "message could not be sent" in beat.text(), within=10)
        assert sends()
        server.kill()
        seen = beat.text().count("message could not be sent")
        eventually(lambda: beat.text().count("message could not be sent") > seen, within=10)
        server.start()
        assert sends()
        assert beat.popen.poll() is None
