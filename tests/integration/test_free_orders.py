"""What costs nothing is paid without a payment."""

import pytest

from inventory.admission import gate
from orders import services
from orders.models import Order
from payments.models import Payment, Refund, SandboxCharge
from tasks.repair.audit import audit
from tasks.steps import gate_effects, request_payments
from tests.conftest import keep_asleep

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def free(make_item, customer, order):
    """An order of a free item that the chain has brought to its end."""

    def place(method):
        item = make_item(units=5, price="0.00")
        keep_asleep(item)
        order_id = order(item, customer, method=method).order_id
        claim = gate.claim(item.pk, consumer="c", limit=1, in_flight=1)
        services.deduct(item.pk, [admitted for _, admitted in claim.entries])
        gate.ack(item.pk, claim.entries)
        services.create([order_id])
        request_payments.request_payments.run([str(order_id)])
        return Order.objects.get()

    return place


def nothing_was_asked_for():
    return not (Payment.objects.exists() or SandboxCharge.objects.exists() or Refund.objects.exists())


@pytest.mark.parametrize("method", ["pm_ok", "pm_declined", ""])
def test_the_chain_ends_a_free_order_paid_and_asks_nobody(free, api, method):
    found = free(method)

    view = api.get(f"/api/v1/orders/{found.pk}/").json()
    assert (view["status"], view["total"], view["payment"]) == ("paid", "0.00", None)
    assert [event["status"] for event in view["history"]] == ["queued", "reserved", "pending_payment", "paid"]
    gate_effects.apply()
    assert nothing_was_asked_for()
    assert audit().is_clean


def test_to_pay_a_free_order_is_harmless(free, api):
    found = free("")

    answer = api.post(f"/api/v1/orders/{found.pk}/pay/", {"payment_method": "pm_declined"}, format="json")

    assert (answer.status_code, answer.json()["status"]) == (202, "paid")
    assert nothing_was_asked_for()


def test_to_pay_a_free_order_that_another_release_left_waiting_ends_it_paid(free, api):
    found = free("")
    Order.objects.update(status="pending_payment")

    answer = api.post(f"/api/v1/orders/{found.pk}/pay/", {"payment_method": "pm_ok"}, format="json")

    assert (answer.status_code, answer.json()["status"]) == (202, "paid")
    assert nothing_was_asked_for()


def test_a_free_order_is_refunded_without_the_provider(free):
    found = free("pm_ok")

    services.refund_by_staff(found.pk, "staff")

    found.refresh_from_db()
    assert found.status == "refunded"
    assert nothing_was_asked_for()
    gate_effects.apply()
    assert audit().is_clean
