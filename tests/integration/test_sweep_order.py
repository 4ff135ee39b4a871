"""Every sweep takes the oldest first and no more than its bound, and nothing behind starves."""

import base64
import json
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
import redis
from django.conf import settings as django_settings

from flashsale.core.clock import now
from flashsale.core.redis_client import gate_client
from inventory.admission import gate, keys
from orders import services
from orders.models import GateEffect, Intake, Order
from orders.services import outbox
from payments import services as payments
from payments.models import Payment
from tasks import sweeps
from tasks.steps import pipeline
from tests.conftest import asked, eventually, keep_asleep

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_workers")]
COUNT = 5


@pytest.fixture
def item(make_item):
    made = make_item(units=COUNT)
    keep_asleep(made)
    return made


@pytest.fixture
def ids(item, customers, order):
    return [order(item, buyer).order_id for buyer in customers(COUNT)]


@pytest.fixture
def reserved(item, ids):
    claim = gate.claim(item.pk, consumer="c", limit=COUNT, in_flight=COUNT)
    services.create(services.deduct(item.pk, [order for _, order in claim.entries]))
    gate.ack(item.pk, claim.entries)
    return ids


def aged(rows, field, ids):
    """The later in ``ids``, the older: nothing that is in the order of the ids is in the order of age."""
    for number, pk in enumerate(ids):
        rows.filter(pk=pk).update(**{field: now() - timedelta(minutes=1 + number)})


def pairs(found):
    """What two at a time give, until there is nothing left."""
    taken = []
    while some := found():
        assert len(some) <= 2
        taken += some
    return taken


def test_reserved_orders_are_asked_for_the_oldest_first(reserved):
    aged(Order.objects, "updated_at", reserved)

    def take():
        some = services.stale_reserved(2)
        services.request_payments(some)
        return some

    assert pairs(take) == reserved[::-1]


def test_rows_are_made_the_oldest_first(item, ids):
    claim = gate.claim(item.pk, consumer="c", limit=COUNT, in_flight=COUNT)
    services.deduct(item.pk, [order for _, order in claim.entries])
    aged(Intake.objects, "created_at", ids)

    def take():
        some = services.stale_intake(2)
        services.create(some)
        return some

    assert pairs(take) == ids[::-1]


def test_rows_that_cannot_be_read_keep_none_back(item, ids):
    claim = gate.claim(item.pk, consumer="c", limit=COUNT, in_flight=COUNT)
    services.deduct(item.pk, [order for _, order in claim.entries])
    for row in Intake.objects.filter(pk__in=ids[:4]):
        Intake.objects.filter(pk=row.pk).update(payload=row.payload | {"v": 99})
    aged(Intake.objects, "created_at", ids[::-1])

    for _ in range(3):
        services.leave_unread(services.create(services.stale_intake(2)).unread)

    assert list(Order.objects.values_list("pk", flat=True)) == ids[4:]
    assert Intake.objects.count() == 4


def _payments(customer, field):
    requests = [payments.PaymentRequest(uuid4(), customer.pk, Decimal("1.00"), "EUR", "pm_ok") for _ in range(COUNT)]
    made = payments.open_payments(requests, Payment.Origin.CHAIN)
    aged(Payment.objects, field, made)
    return made


def test_due_payments_are_asked_about_the_longest_due_first(customer):
    made = _payments(customer, "next_attempt_at")

    def take():
        some = payments.due_payments(2)
        asked(some)
        return some

    assert pairs(take) == made[::-1]


def test_orders_learn_of_decided_payments_the_oldest_first(customer):
    made = _payments(customer, "updated_at")
    Payment.objects.update(status=Payment.Status.FAILED)

    def take():
        some = payments.decided_payments(2)
        Payment.objects.filter(pk__in=some).update(applied_at=now())
        return some

    assert pairs(take) == made[::-1]


def test_overdue_orders_are_cancelled_the_longest_overdue_first(reserved):
    services.request_payments(reserved)
    aged(Order.objects, "expires_at", reserved)
    cancelled = []

    def take():
        services.cancel_unpaid(2)
        gone = Order.objects.filter(status="cancelled").exclude(pk__in=cancelled).order_by("expires_at")
        cancelled.extend(some := list(gone.values_list("pk", flat=True)))
        return some

    assert pairs(take) == reserved[::-1]


def test_effects_are_told_the_oldest_first_and_those_put_off_keep_none_back():
    first, second = [uuid4() for _ in range(3)], [uuid4() for _ in range(2)]
    for item, pks in ((7, first), (8, second)):
        for pk in pks:
            outbox.tell(GateEffect.Kind.RELEASE, [(item, pk)])

    def locked(*but_not_of):
        from django.db import transaction

        with transaction.atomic():
            return [pk for effect in services.lock_effects(2, but_not_of) for pk in effect.orders]

    assert locked() == first[:2]
    assert locked(7) == second


def _sale(make_item, customers, order, number):
    item = make_item(units=1, slug=f"sale-{number}", sku=f"thing-{number}")
    keep_asleep(item)
    buyer = customers(1, f"buyer-{number}-")[0]
    return item, order(item, buyer).order_id


def _woken(items):
    """The items of the wake-ups that a sweep over these has sent; they are taken away."""
    pipeline.wake_again(items)
    with redis.Redis.from_url(django_settings.CELERY_BROKER_URL) as broker:
        found = [json.loads(raw) for raw in broker.lrange("dispatch", 0, -1)][::-1]
        broker.delete("dispatch")
    return [json.loads(base64.b64decode(message["body"]))[0][0] for message in found]


def test_the_dispatcher_is_woken_first_for_the_items_that_have_waited_longest(make_item, customers, order, monkeypatch):
    monkeypatch.setattr(pipeline, "_MOST_WAKE_UPS", 2)
    items = [_sale(make_item, customers, order, number)[0] for number in range(COUNT)]
    for number, item in enumerate(items[::-1]):  # the last one made is the oldest
        line = gate_client().xrange(keys.admitted(item.pk))[0][1]
        gate_client().delete(keys.admitted(item.pk))
        gate_client().xadd(keys.admitted(item.pk), line, id=f"{1_000 + number}-0")

    woken = []
    while waiting := [item.pk for item in items if gate.waiting([item.pk])[item.pk][0]]:
        sent = eventually(lambda items=waiting: _woken(items))  # a busy machine may be too late once
        assert len(sent) <= 2
        for item in sent:
            gate.claim(item, consumer="c", limit=9, in_flight=9)
        woken += sent

    assert woken == [item.pk for item in items[::-1]]


def test_claims_that_stand_still_are_reclaimed_the_oldest_first(make_item, customers, order, monkeypatch):
    monkeypatch.setattr(sweeps, "_LIMIT", 2)
    monkeypatch.setattr(sweeps, "_CLAIM_IDLE_MS", 500)
    made = [_sale(make_item, customers, order, number) for number in range(COUNT)]
    for item, _ in made:
        entries = gate.claim(item.pk, consumer="dead", limit=9, in_flight=9).entries
        gate.leave(item.pk, [entry_id for entry_id, _ in entries], idle_ms=60_000)

    for end in (2, 4, 5):
        sweeps.waiting_orders()
        assert set(Order.objects.values_list("pk", flat=True)) == {order_id for _, order_id in made[:end]}
