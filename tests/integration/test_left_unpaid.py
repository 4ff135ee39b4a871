"""Who orders an item again and again and never pays keeps it off sale no more."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from flashsale.core.redis_client import gate_client
from inventory.admission import gate, keys
from inventory.errors import TooManyUnpaid
from orders import services
from orders.models import GateEffect, Order
from tasks.repair import gate_sync
from tasks.repair.audit import audit
from tasks.repair.rebuild import rebuild_gate
from tasks.steps import gate_effects, request_payments
from tests.conftest import keep_asleep

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def wait(order):
    """Orders an item and lets the order wait for its payment."""

    def ordered(item, customer, method=""):
        keep_asleep(item)
        order_id = order(item, customer, method=method).order_id
        claim = gate.claim(item.pk, consumer="c", limit=1, in_flight=1)
        services.deduct(item.pk, [admitted for _, admitted in claim.entries])
        gate.ack(item.pk, claim.entries)
        services.create([order_id])
        request_payments.request_payments.run([str(order_id)])
        return order_id

    return ordered


@pytest.fixture
def leave(wait):
    """Orders an item and never pays."""

    def left(item, customer, times=1):
        for _ in range(times):
            order_id = wait(item, customer)
            Order.objects.filter(pk=order_id).update(expires_at=Now() - timedelta(seconds=1))
            services.cancel_unpaid(10)
            gate_effects.apply()

    return left


def test_after_three_orders_left_unpaid_the_item_is_not_ordered_again(make_item, leave, wait, customer, customers, api):
    item = make_item(units=2)
    leave(item, customer, 3)

    token = gate.issue_token(item.pk, customer.pk).token
    body = {"token": token, "sku": "thing", "quantity": 1, "source": "shop", "seq": "again"}
    refused = api.post("/api/v1/orders/", body, format="json")

    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_unpaid")
    assert (gate.snapshot(item.pk).stock, gate.snapshot(item.pk).buyers) == (2, {})
    assert gate_client().exists(keys.token(item.pk, token))
    [other] = customers(1, "other")
    wait(item, other)
    wait(make_item(slug="another"), customer)
    assert audit().is_clean


def test_orders_that_are_paid_or_called_off_do_not_count(make_item, leave, wait, customer):
    item = make_item(units=20, per_customer=20)
    leave(item, customer, 2)
    for _ in range(4):
        services.cancel(wait(item, customer), customer.pk)
        wait(item, customer, "pm_ok")
        gate_effects.apply()

    leave(item, customer)

    with pytest.raises(TooManyUnpaid):
        wait(item, customer)


def test_who_cancels_just_before_the_deadline_and_orders_again_keeps_no_unit_for_ever(make_item, wait, customer):
    item = make_item(window_s=600)
    for _ in range(3):
        order_id = wait(item, customer)
        Order.objects.filter(pk=order_id).update(expires_at=Now() + timedelta(seconds=10))
        services.cancel(order_id, customer.pk)
        gate_effects.apply()

    with pytest.raises(TooManyUnpaid):
        wait(item, customer)


def test_an_effect_that_is_applied_twice_counts_once(make_item, leave, customer):
    item = make_item()
    leave(item, customer)
    expired = Order.objects.get()
    GateEffect.objects.create(order_id=expired.pk, item_id=item.pk, kind="expired")

    gate_effects.apply()

    assert gate_client().hgetall(keys.unpaid(item.pk)) == {str(customer.pk): "1"}


def test_a_rebuilt_gate_goes_on_counting_and_a_lost_one_begins_anew(make_item, leave, wait, customer):
    item = make_item()
    leave(item, customer, 3)

    rebuild_gate(item.pk)
    with pytest.raises(TooManyUnpaid):
        wait(item, customer)
    gate_client().flushall()
    gate_sync.refresh_gates([item.pk])

    wait(item, customer)


def test_the_count_goes_with_the_gate(make_item, leave, customer):
    item = make_item()
    leave(item, customer)

    gate.forget([item.pk])

    assert not gate_client().exists(keys.unpaid(item.pk))
