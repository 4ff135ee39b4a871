"""Workers and sweepers of two releases at once, as in a rolling deploy: every order ends as it would with one release."""

import json

import pytest
from django.conf import settings

from flashsale.core.redis_client import gate_client
from inventory.admission import gate, keys
from inventory.admission.admitted import VERSION
from orders import placement
from orders.models import Order, OrderEvent
from tasks.models import DeadLetter
from tasks.repair.audit import audit
from tasks.steps import pipeline
from tests.conftest import Process, eventually, running, start_workers
from tests.crash.scene import open_sale

pytestmark = pytest.mark.django_db(transaction=True)
ORDERS = 60


def _newer_worker():
    command = ("celery", "-A", "flashsale", "worker", "-n", "newer@%h", "-Q", ",".join(settings.QUEUES), "-c", "1")
    options = ("-l", "WARNING", "--without-gossip", "--without-mingle", "-I", "tests.crash.newer_release")
    return Process("newer-worker", *command, *options)


def _as_newer(item):
    """Every second line of the stream as the newer release would have written it."""
    stream = keys.admitted(item)
    lines = [json.loads(fields["o"]) for _, fields in gate_client().xrange(stream)]
    gate_client().delete(stream)
    for number, line in enumerate(lines):
        newer = {"v": VERSION + 1, "promise": "gold"} if number % 2 else {}
        gate_client().xadd(stream, {"o": json.dumps(line | newer)})


def test_two_releases_side_by_side_settle_the_orders_of_both_and_reject_none(no_workers):
    sale = open_sale("two releases", customers=ORDERS, units=ORDERS)
    sale.sleep()
    newer = _newer_worker()
    sweepers = [
        Process("sweeper", "python", "manage.py", "sweep"),
        Process("newer-sweeper", "python", "-m", "tests.crash.newer_release", "sweep"),
    ]
    with running(newer, *sweepers, *start_workers(("older", settings.QUEUES, 1))):
        ids = [placement.place_order(each, sale.request(each, "pm_ok")).order_id for each in sale.customers]
        _as_newer(sale.item)
        for _ in range(4):
            pipeline.wake(sale.item)

        eventually(lambda: Order.objects.filter(status="paid").count() == ORDERS, within=60)

    assert dict(Order.objects.values_list("pk", "status")) == dict.fromkeys(ids, "paid")
    assert not OrderEvent.objects.filter(status__in=["rejected", "cancelled"]).exists()
    assert list(DeadLetter.objects.values_list("task", "error")) == []
    eventually(lambda: gate.waiting([sale.item]) == {sale.item: (0, 0)})
    assert audit(sale.slug).is_clean
