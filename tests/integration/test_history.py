"""The history of an order, whichever release has written which part of it."""

from datetime import timedelta

import pytest
from django.db import connection

from flashsale.core.clock import now
from inventory.admission import gate
from orders import selectors, services
from orders.models import EventLine, Order, OrderEvent
from orders.states import OrderStatus
from orders.transitions import advance
from tests.conftest import keep_asleep

pytestmark = pytest.mark.django_db(transaction=True)
# As the release before writes a step of an order.
_BEFORE = """
WITH moved AS (UPDATE orders_order SET status = %(status)s, updated_at = now() WHERE id = %(id)s RETURNING id), noted AS (
    INSERT INTO orders_orderevent (order_id, status, reason, actor, at)
    SELECT id, %(status)s, '', '', clock_timestamp() FROM moved
) SELECT * FROM moved
"""
_CREATED_BEFORE = """
INSERT INTO "orders_orderevent" ("order_id", "status", "reason", "actor", "at")
SELECT %(id)s, each, '', '', %(at)s FROM unnest(ARRAY['queued', 'reserved']) each ON CONFLICT DO NOTHING RETURNING id
"""


@pytest.fixture
def reserved(make_item, customer, order):
    item = make_item(units=5)
    keep_asleep(item)
    order(item, customer)
    claim = gate.claim(item.pk, consumer="c", limit=10, in_flight=10)
    services.deduct(item.pk, [each for _, each in claim.entries])
    services.create([each.id for _, each in claim.entries])
    return Order.objects.get()


def run(statement, **values):
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def history(order):
    return [line["status"] for line in selectors.of_customer(order.customer_id, [order.pk])[0]["history"]]


def test_a_step_is_written_into_the_order_with_who_why_and_when(reserved):
    advance([reserved.pk], OrderStatus.CANCELLED, reason="by_staff", actor="eve")

    last = reserved.history.last()
    assert (last.status, last.reason, last.actor) == ("cancelled", "by_staff", "eve")
    assert timedelta(0) <= now() - last.at < timedelta(seconds=30)
    assert history(reserved) == ["queued", "reserved", "cancelled"]
    assert not EventLine.objects.exists()


def test_steps_of_two_releases_are_one_history_in_their_order(reserved):
    run(_BEFORE, id=reserved.pk, status="pending_payment")
    advance([reserved.pk], OrderStatus.PAID)
    run(_BEFORE, id=reserved.pk, status="refunded")

    assert history(reserved) == ["queued", "reserved", "pending_payment", "paid", "refunded"]
    assert EventLine.objects.count() == 2


def test_an_order_from_before_goes_on_with_its_lines(reserved):
    Order.objects.update(steps=[])
    run(_CREATED_BEFORE, id=reserved.pk, at=now() - timedelta(minutes=1))
    advance([reserved.pk], OrderStatus.PENDING_PAYMENT)

    assert history(reserved) == ["queued", "reserved", "pending_payment"]


def test_the_admission_comes_first_also_by_a_clock_that_is_ahead(reserved):
    steps = reserved.steps
    steps[0]["at"] = str(now() + timedelta(minutes=5))
    Order.objects.update(steps=steps)

    assert history(reserved) == ["queued", "reserved"]


def test_the_history_goes_with_its_order(reserved):
    run(_BEFORE, id=reserved.pk, status="pending_payment")
    assert OrderEvent.objects.count() == 3

    reserved.delete()

    assert (OrderEvent.objects.count(), EventLine.objects.count()) == (0, 0)
