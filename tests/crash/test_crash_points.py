"""Whatever process is killed at whatever boundary of an order's way: the whole is whole again within 30 s.

Each point has a sale of its own. The processes die one after the other, then one worker and one sweeper that were never
touched take over; last come the messages that the dead held, as after the broker's visibility timeout.
"""

import time
from collections import deque

import pytest
from django.core.management import call_command

from flashsale.core.redis_client import gate_client
from inventory.admission import gate
from inventory.models import SaleItem
from orders.models import EffectBatch, Intake, Order
from payments.models import Payment, SandboxCharge
from tasks.models import DeadLetter
from tasks.repair.audit import audit
from tests.conftest import Process, eventually, running
from tests.crash.broker import Broker
from tests.crash.points import POINTS
from tests.crash.scene import END_STATES, UNITS
from tests.crash.wreck import WEB_SCENES, Wreck

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(300)]
LIVE = Broker(0)
_AHEAD = 2  # processes that start while another one dies


@pytest.fixture(autouse=True)
def clean_redis():
    """Nothing is emptied between these tests: they look at one scene."""


@pytest.fixture(scope="module")
def wrecks(request, django_db_setup, django_db_blocker, _kept_worker, _web):
    """Every point of the selected tests, struck and taken over."""
    names = [item.callspec.params["name"] for item in request.session.items if item.module is request.module]
    with django_db_blocker.unblock():
        gate_client().flushall()
        _kept_worker.start()
        found = [Wreck(name, Broker(1 + number % (_AHEAD + 1))) for number, name in enumerate(dict.fromkeys(names))]
        try:
            _strike_all(found)
            _take_over(found, _web)
            yield {wreck.name: wreck for wreck in found}
        finally:
            for wreck in found:
                if wreck.process and wreck.process.popen.poll() is None:
                    wreck.process.kill()
            LIVE.take()
            call_command("flush", interactive=False, verbosity=0)
            gate_client().flushall()


def _strike_all(wrecks):
    ahead, rest = deque(), deque(wrecks)
    while ahead or rest:
        while rest and len(ahead) <= _AHEAD:
            ahead.append(rest.popleft())
            ahead[-1].launch()
        wreck = ahead.popleft()
        try:
            wreck.strike(LIVE)
        except Exception as error:
            wreck.error = error  # of this point's test alone
            wreck.process.kill()


def _take_over(wrecks, web):
    """The living carry on: what was lost in the dead's hands comes back only when everything else is done."""
    hit = [wreck for wreck in wrecks if not wreck.error]
    LIVE.put([message for wreck in hit for message in wreck.waiting])
    for wreck in hit:
        if wreck.point.scene in WEB_SCENES:
            wreck.ask_again(web)
    began = time.monotonic()
    with running(Process("sweeper", "python", "manage.py", "sweep")):
        for wreck in hit:
            wreck.settled_after = _settled(wreck, began)
        LIVE.put([message for wreck in hit for message in wreck.held])
        eventually(lambda: LIVE.unfinished() == ({}, []), within=20, what=LIVE.unfinished)
    for wreck in hit:
        wreck.report = audit(wreck.sale.slug)


def _settled(wreck, began):
    while time.monotonic() - began < 30:
        if statuses(wreck) == expected(wreck) and not audit(wreck.sale.slug).in_flight:
            return time.monotonic() - began
        time.sleep(0.05)
    return None


def statuses(wreck):
    return dict(Order.objects.filter(pk__in=wreck.orders).values_list("pk", "status"))


def expected(wreck):
    return dict.fromkeys(wreck.orders, END_STATES.get(wreck.point.scene, "paid"))


@pytest.mark.parametrize("name", POINTS)
def test_nothing_is_lost_or_done_twice_when_a_process_is_killed(name, wrecks):
    wreck = wrecks[name]
    if wreck.error:
        raise wreck.error

    assert wreck.evidence.read_text().splitlines()[0] == name
    assert wreck.process.popen.returncode == -9
    assert {layer: wreck.remains[layer] for layer in wreck.point.leaves} == wreck.point.leaves

    assert wreck.settled_after is not None, (statuses(wreck), wreck.remains)
    assert statuses(wreck) == expected(wreck)
    assert Order.objects.filter(item_id=wreck.sale.item).count() == len(wreck.orders) > 0
    _assert_money_taken_once(wreck)
    _assert_units_where_they_belong(wreck)
    assert wreck.report.is_clean, [check for check in wreck.report.checks if check.breaches]
    assert wreck.report.in_flight == 0
    assert not Intake.objects.filter(item_id=wreck.sale.item).exists()
    assert not EffectBatch.objects.filter(item_id=wreck.sale.item).exists()
    assert not DeadLetter.objects.exists()
    assert gate.waiting([wreck.sale.item]) == {wreck.sale.item: (0, 0)}


def _assert_money_taken_once(wreck):
    state = END_STATES.get(wreck.point.scene, "paid")
    for pk in wreck.orders:
        keys = Payment.objects.filter(order_id=pk).values("idempotency_key")
        books = SandboxCharge.objects.filter(idempotency_key__in=keys)
        assert books.filter(outcome="captured").count() == (state != "cancelled")
        assert books.filter(refund__isnull=False).count() == (state == "refunded")


def _assert_units_where_they_belong(wreck):
    sold = 0 if END_STATES.get(wreck.point.scene) == "cancelled" else len(wreck.orders)
    item = SaleItem.objects.get(pk=wreck.sale.item)
    assert (item.available, item.reserved, item.sold) == (UNITS - sold, 0, sold)
    seen = gate.snapshot(wreck.sale.item)
    assert (seen.stock, seen.held, seen.sold) == (UNITS - sold, {}, sold)


@pytest.mark.parametrize("name", [name for name, point in POINTS.items() if point.scene in WEB_SCENES])
def test_the_client_that_asks_again_gets_the_answer_it_lost(name, wrecks):
    wreck = wrecks[name]
    if wreck.error:
        raise wreck.error
    status, _, headers = wreck.answer

    assert status == (200 if wreck.point.scene == "cancel" else 202)
    was_admitted = wreck.point.scene == "order" and wreck.remains["streamed"] == 1
    assert headers.get("Idempotency-Replayed") == ("true" if was_admitted else None)
