"""A provider that needs 200 ms for each of 1,000 due payments delays neither the dispatcher nor the other sweeps."""

import time
from decimal import Decimal
from uuid import uuid4

import pytest
from django.utils.timezone import now

from inventory.admission import gate
from orders import placement
from orders.models import EffectBatch, Intake, Order
from payments import services as payments
from payments.models import Payment
from tests.conftest import Process, eventually, running, start_workers
from tests.crash.scene import open_sale

pytestmark = pytest.mark.django_db(transaction=True)
DUE = 1_000


def _worker(name, queues, concurrency):
    options = (
        "-n",
        f"{name}@%h",
        "-Q",
        queues,
        "-c",
        str(concurrency),
        "-l",
        "WARNING",
        "--without-gossip",
        "--without-mingle",
    )
    return Process(name, "celery", "-A", "flashsale", "worker", *options, "-I", "tests.crash.slow_provider")


@pytest.mark.timed
def test_a_slow_provider_delays_no_dispatch_and_no_cancellation(no_workers, tmp_path, customer):
    sale = open_sale("slow provider", customers=6, units=6)
    requests = [payments.PaymentRequest(uuid4(), customer.pk, Decimal("1.00"), "EUR", "pm_ok") for _ in range(DUE)]
    payments.open_payments(requests, Payment.Origin.CHAIN)
    Payment.objects.update(next_attempt_at=now())
    beat = ("celery", "-A", "flashsale", "beat", "--schedule", str(tmp_path / "beat"), "--pidfile=", "-l", "WARNING")
    workers = _worker("intake", "dispatch,inventory", 1), _worker("payments", "payments", 2)
    with running(*start_workers(("settle", ["orders", "cancellations"], 1)), *workers, Process("beat", *beat)):
        eventually(lambda: Payment.objects.filter(status="succeeded").exists(), within=40)
        waits = []
        for each in sale.customers:
            began = time.monotonic()
            order_id = placement.place_order(each, sale.request(each, "")).order_id
            eventually(lambda pk=order_id: Order.objects.filter(pk=pk).exists(), within=10)
            waits.append(time.monotonic() - began)
        unpaid = Order.objects.filter(status__in=["reserved", "pending_payment"])
        unpaid.update(status="pending_payment", expires_at=now())
        began = time.monotonic()
        eventually(lambda: Order.objects.filter(status="cancelled").count() == len(waits), within=10)
        cancelled_after = time.monotonic() - began
        eventually(lambda: not EffectBatch.objects.filter(item_id=sale.item).exists())
        still_due = Payment.objects.filter(status="created").count()

    assert max(waits) < 1
    assert cancelled_after < 3
    assert still_due > DUE / 2, "the provider was not slow"
    assert (Intake.objects.count(), gate.waiting([sale.item])) == (0, {sale.item: (0, 0)})
