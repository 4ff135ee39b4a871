"""Units of a refunded order go back on sale by choice, once, and then its customer may buy again."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse

from flashsale.core.redis_client import gate_client
from inventory.admission import gate, keys
from inventory.errors import LimitPerCustomer
from inventory.models import SaleItem, StockMovement
from orders import services
from orders.errors import NotCancellable
from orders.models import EffectBatch, GateEffect, Order
from payments import services as payments
from tasks.repair import gate_sync
from tasks.repair.audit import audit
from tasks.repair.rebuild import rebuild_gate
from tasks.steps import gate_effects, request_payments
from tests.conftest import keep_asleep
from tests.integration.test_pipeline import together
from tests.integration.test_staff_guards import form_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def buy(order):
    """Buys units of an item for a customer."""

    def bought(item, customer, units=1):
        keep_asleep(item)
        order_id = order(item, customer, units=units, method="pm_ok").order_id
        claim = gate.claim(item.pk, consumer="c", limit=1, in_flight=1)
        services.deduct(item.pk, [admitted for _, admitted in claim.entries])
        gate.ack(item.pk, claim.entries)
        services.create([order_id])
        request_payments.request_payments.run([str(order_id)])
        gate_effects.apply()
        assert Order.objects.get(pk=order_id).status == "paid"
        return order_id

    return bought


def stock_of(item):
    item.refresh_from_db()
    return item.available, item.reserved, item.sold


def test_refunded_units_go_back_on_sale_and_their_customer_buys_them_again(make_item, buy, customer):
    item = make_item(units=3, per_customer=3)
    order_id = buy(item, customer, units=3)
    assert stock_of(item) == (0, 0, 3)

    services.refund_by_staff(order_id, "staff", restock=True)
    assert stock_of(item) == (3, 0, 0)
    assert audit().is_clean
    gate_effects.apply()
    payments.process_refunds(1)

    seen = gate.snapshot(item.pk)
    assert (seen.stock, seen.sold, seen.buyers, seen.held) == (3, 0, {}, {})
    found = Order.objects.get()
    assert (found.status, found.reason) == ("refunded", "restocked")
    buy(item, customer, units=3)
    assert stock_of(item) == (0, 0, 3)
    assert audit().is_clean


def test_without_the_choice_units_stay_sold_and_count_for_the_limit(make_item, buy, customer):
    item = make_item(units=3)
    order_id = buy(item, customer)

    services.refund_by_staff(order_id, "staff")
    gate_effects.apply()
    rebuild_gate(item.pk)

    assert stock_of(item) == (2, 0, 1)
    with pytest.raises(LimitPerCustomer):
        buy(item, customer)
    assert audit().is_clean


def test_a_refunded_order_is_not_put_back_a_second_time(make_item, buy, customer):
    item = make_item(units=3)
    order_id = buy(item, customer)
    services.refund_by_staff(order_id, "staff", restock=True)

    for restock in (True, False):
        with pytest.raises(NotCancellable):
            services.refund_by_staff(order_id, "staff", restock=restock)

    assert stock_of(item) == (3, 0, 0)
    assert StockMovement.objects.filter(kind="return").count() == 1


def test_two_who_refund_at_once_put_it_back_once(make_item, buy, customer):
    item = make_item(units=3)
    order_id = buy(item, customer)

    def refund(number):
        try:
            services.refund_by_staff(order_id, "staff", restock=bool(number % 2))
        except NotCancellable:
            return False
        return True

    assert sum(together(4, refund)) == 1

    gate_effects.apply()
    back = int(Order.objects.get().reason == "restocked")
    assert stock_of(item) == (2 + back, 0, 1 - back)
    assert audit().is_clean


def test_a_process_that_dies_after_the_gate_was_told_puts_nothing_back_twice(make_item, buy, customer):
    item = make_item(units=3)
    services.refund_by_staff(buy(item, customer), "staff", restock=True)
    rebuild_gate(item.pk)  # whoever did that died before it could forget the effect
    assert EffectBatch.objects.count() == 1

    gate_effects.apply()

    assert (gate.snapshot(item.pk).stock, EffectBatch.objects.count()) == (3, 0)
    assert audit().is_clean


def test_a_lost_gate_knows_what_was_put_back(make_item, buy, customer):
    item = make_item(units=3)
    services.refund_by_staff(buy(item, customer), "staff", restock=True)
    gate_client().flushall()

    gate_sync.refresh_gates([item.pk])
    gate_effects.apply()

    seen = gate.snapshot(item.pk)
    assert (seen.stock, seen.sold, seen.buyers) == (3, 0, {})
    buy(item, customer)
    assert audit().is_clean


def test_units_are_put_back_before_the_gate_has_heard_that_they_were_sold(make_item, buy, customer):
    item = make_item(units=3)
    order_id = buy(item, customer)
    gate_client().hset(keys.held(item.pk), str(order_id), f"{customer.pk}:1")  # as before the sale was told
    gate_client().hincrby(keys.meta(item.pk), "sold", -1)
    GateEffect.objects.create(order_id=order_id, item_id=item.pk, kind="settle")
    services.refund_by_staff(order_id, "staff", restock=True)

    gate_effects.apply()

    seen = gate.snapshot(item.pk)
    assert (seen.stock, seen.sold, seen.held, seen.buyers) == (3, 0, {}, {})
    assert audit().is_clean


def test_units_of_a_sale_that_is_over_go_back_to_the_ledger(make_item, buy, customer, settings):
    item = make_item(units=3)
    order_id = buy(item, customer)
    settings.GATE_RETENTION_S = 10
    item.sale.opens_at -= timedelta(days=2)
    item.sale.closes_at -= timedelta(days=1)
    item.sale.save()

    services.refund_by_staff(order_id, "staff", restock=True)
    gate_effects.apply()

    assert (stock_of(item), EffectBatch.objects.count()) == ((3, 0, 0), 0)


def test_staff_press_a_button_for_it(admin_client, make_item, buy, customer):
    item = make_item(units=3)
    order_id = buy(item, customer)
    page = reverse("admin:orders_order_change", args=[order_id])
    assert "Refund and put back on sale" in admin_client.get(page).content.decode()

    ticked = {"action": "refund_and_restock", "_selected_action": [str(order_id)]}
    listed = reverse("admin:orders_order_changelist")
    asked = admin_client.post(listed, ticked)
    assert "go back on sale" in asked.content.decode()
    assert stock_of(item) == (2, 0, 1)

    url = reverse("admin:orders_order_press_refund_and_restock", args=[order_id])
    form = form_of(admin_client.get(url))
    assert [admin_client.post(url, form).status_code for _ in range(2)] == [302, 302]

    assert (stock_of(item), gate.snapshot(item.pk).stock) == ((3, 0, 0), 3)
    assert Order.objects.get().status == "refunded"


def test_whoever_may_not_refund_may_not_put_back(client, django_user_model, make_item, buy, customer):
    item = make_item(units=3)
    order_id = buy(item, customer)
    viewer = django_user_model.objects.create_user("viewer", password="viewer", is_staff=True)
    viewer.user_permissions.set(Permission.objects.filter(codename__in=["view_order", "cancel_order"]))
    client.force_login(viewer)

    client.post(reverse("admin:orders_order_changelist"), {"action": "refund_and_restock", "_selected_action": [str(order_id)]})

    assert stock_of(item) == (2, 0, 1)
    assert SaleItem.objects.get().sold == 1
