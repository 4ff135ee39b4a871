"""Payments against the sandbox provider's books."""

import json
import time
import uuid
from datetime import timedelta
from decimal import Decimal
from itertools import permutations

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now

from flashsale.core.clock import now
from inventory.admission import gate
from orders import customer_actions, services
from orders.errors import NotCancellable, NotPayable
from orders.models import Order
from payments import services as payments
from payments.models import Payment, Refund, SandboxCharge, SandboxRefund
from tasks import sweeps
from tasks.repair.audit import audit
from tasks.steps import request_payments
from tests.conftest import asked, eventually, keep_asleep, sandbox_signature
from tests.integration.test_pipeline import together

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def placed(workers, sweeper, make_item, customer, order):
    """An order with this method, brought to ``pending_payment`` or further."""

    def place(method, window_s=600):
        item = make_item(units=5, window_s=window_s)
        admission = order(item, customer, method=method)
        return eventually(lambda: Order.objects.filter(pk=admission.order_id).exclude(status="reserved").first())

    return place


def reaches(order, status):
    eventually(lambda: Order.objects.get(pk=order.pk).status == status, what=lambda: Order.objects.get(pk=order.pk).status)


@pytest.mark.parametrize("method", ["pm_ok", "pm_unavailable", "pm_unknown", "pm_slow"])
def test_a_method_that_succeeds_in_the_end_charges_exactly_once(placed, method):
    order = placed(method)

    reaches(order, "paid")

    assert SandboxCharge.objects.filter(outcome="captured").count() == 1
    report = eventually(lambda: (r := audit()) and not r.in_flight and r)
    assert report.is_clean, report


@pytest.fixture
def reserved(make_item, customer, order):
    """Makes an order that is a row, and of which no payment is opened yet; its id in a list."""

    def make(method):
        item = make_item(units=5)
        keep_asleep(item)
        order(item, customer, method=method)
        claim = gate.claim(item.pk, consumer="c", limit=10, in_flight=10)
        services.deduct(item.pk, [each for _, each in claim.entries])
        services.create(ids := [each.id for _, each in claim.entries])
        return ids

    return make


def test_the_chain_opens_a_payment_as_being_asked_about(reserved):
    ids = reserved("pm_ok")

    opened = services.request_payments(ids)

    row = Payment.objects.get()
    assert (opened.fresh, opened.others) == ([row.pk], [])
    assert (row.status, row.attempts) == ("processing", 1)
    assert timedelta(seconds=1) < row.next_attempt_at - row.created_at <= timedelta(seconds=2.5)
    assert asked([row.pk]) == []  # it is not due for anybody else
    assert SandboxCharge.objects.count() == 0


def test_of_a_chain_that_died_before_it_asked_the_sweep_asks_with_the_same_key(reserved):
    [payment] = services.request_payments(reserved("pm_ok")).fresh
    Payment.objects.update(next_attempt_at=Now())

    sweeps.open_payments()

    assert (Order.objects.get().status, SandboxCharge.objects.get().idempotency_key) == ("paid", payment.hex)
    assert asked([], [payment]) == []  # the chain was only asleep
    assert SandboxCharge.objects.get().asked == 1


def test_what_the_chain_has_no_time_for_may_be_asked_about_at_once(reserved, monkeypatch):
    opened = services.request_payments(reserved("pm_ok"))
    monkeypatch.setattr(request_payments, "TURN_S", 0.0)

    left = request_payments.charge_and_apply(opened.others, opened.fresh)

    row = Payment.objects.get()
    assert (left, row.status, row.attempts, SandboxCharge.objects.count()) == (opened.fresh, "created", 0, 0)
    monkeypatch.undo()
    assert request_payments.charge_and_apply(left) == []
    assert (Order.objects.get().status, SandboxCharge.objects.get().asked) == ("paid", 1)


def test_a_payment_that_several_ask_about_at_once_is_asked_about_once(reserved):
    ids = reserved("pm_slow")
    opened, again = services.request_payments(ids), services.request_payments(ids)
    assert (again.fresh, again.others) == ([], opened.fresh)

    assert not any(together(4, lambda number: asked(again.others, () if number else opened.fresh)))
    assert (Payment.objects.get().attempts, SandboxCharge.objects.get().asked) == (1, 1)

    Payment.objects.update(next_attempt_at=Now())
    assert not any(together(4, lambda _: asked(again.others)))
    assert (Payment.objects.get().attempts, SandboxCharge.objects.get().asked) == (2, 2)


def test_a_declined_payment_leaves_the_order_payable_another_way(placed, customer):
    order = placed("pm_declined")
    eventually(lambda: Payment.objects.filter(status="failed").exclude(applied_at=None).exists())
    assert Order.objects.get().status == "pending_payment"

    customer_actions.pay(customer.pk, order.pk, "pm_ok")

    reaches(order, "paid")
    customer_actions.pay(customer.pk, order.pk, "pm_ok")
    with pytest.raises(NotCancellable):
        customer_actions.cancel(customer.pk, order.pk)
    assert SandboxCharge.objects.filter(outcome="captured").count() == 1


def test_money_that_arrives_after_the_cancellation_is_refunded(placed, customer):
    order = placed("pm_slow")

    customer_actions.cancel(customer.pk, order.pk)

    eventually(lambda: Refund.objects.filter(status="succeeded").exists())
    assert SandboxRefund.objects.count() == 1
    assert Order.objects.get().status == "cancelled"
    report = eventually(lambda: (r := audit()) and not r.in_flight and r)
    assert report.is_clean, report


def test_cancel_and_pay_racing_end_in_one_consistent_state(placed, customer):
    order = placed("")
    actions = [
        lambda: customer_actions.pay(customer.pk, order.pk, "pm_ok"),
        lambda: customer_actions.cancel(customer.pk, order.pk),
    ]

    together(2, lambda n: actions[n]())

    eventually(lambda: Order.objects.get().status in ("paid", "cancelled"))
    report = eventually(lambda: (r := audit()) and not r.in_flight and not payments.due_payments(1) and r)
    assert report.is_clean, report
    row = Order.objects.get()
    captured = SandboxCharge.objects.filter(outcome="captured").count()
    if row.status == "cancelled":
        eventually(lambda: SandboxRefund.objects.count() == captured)
    else:
        assert (captured, SandboxRefund.objects.count()) == (1, 0)


def test_an_overdue_order_cannot_be_paid(placed, customer):
    order = placed("", window_s=1)
    reaches(order, "cancelled")

    with pytest.raises(NotPayable):
        customer_actions.pay(customer.pk, order.pk, "pm_ok")


def test_staff_may_refund_a_paid_order(placed):
    order = placed("pm_ok")
    reaches(order, "paid")

    services.refund_by_staff(order.pk, "staff")

    eventually(lambda: Refund.objects.filter(status="succeeded").exists())
    assert Order.objects.get().status == "refunded"
    report = eventually(lambda: (r := audit()) and not r.in_flight and r)
    assert report.is_clean, report


def post_event(client, body, signature):
    return client.post(
        "/api/v1/payments/webhooks/sandbox/", body, content_type="application/json", headers={"Sandbox-Signature": signature}
    )


def event(payment, event_id="evt_1", kind="charge.succeeded"):
    return json.dumps({"id": event_id, "type": kind, "data": {"idempotency_key": payment.idempotency_key}}).encode()


def test_a_webhook_settles_its_order_once(placed, client):
    order = placed("pm_unknown")
    body = event(Payment.objects.get())
    signature = sandbox_signature(body)

    answers = [post_event(client, body, signature).status_code for _ in range(2)]

    assert answers == [200, 200]
    reaches(order, "paid")


@pytest.mark.parametrize("method", ["pm_unknown", "pm_slow", "pm_declined", "pm_ok", "pm_unavailable"])
@pytest.mark.parametrize("kinds", list(permutations(("charge.failed", "charge.succeeded"))), ids="-".join)
def test_webhooks_in_either_order_end_with_the_money_of_a_paid_order_or_none(placed, client, method, kinds):
    order = placed(method)
    payment = eventually(lambda: Payment.objects.exclude(status="created").first())

    for number, kind in enumerate(kinds):
        body = event(payment, f"evt_{number}", kind)
        assert post_event(client, body, sandbox_signature(body)).status_code == 200

    reaches(order, "paid")
    report = eventually(lambda: (r := audit()) and not r.in_flight and r)
    assert report.is_clean, report
    assert (SandboxCharge.objects.get().outcome, Refund.objects.count()) == ("captured", 0)


def test_a_second_payment_between_failure_and_success_is_given_back(placed, customer, client):
    order = placed("pm_declined")
    first = eventually(lambda: Payment.objects.filter(status="failed").exclude(applied_at=None).first())
    body = event(first, "evt_1", "charge.failed")
    post_event(client, body, sandbox_signature(body))

    customer_actions.pay(customer.pk, order.pk, "pm_ok")
    reaches(order, "paid")
    body = event(first, "evt_2", "charge.succeeded")
    post_event(client, body, sandbox_signature(body))

    refund = eventually(lambda: Refund.objects.filter(status="succeeded").select_related("payment").first())
    assert refund.payment == first
    report = eventually(lambda: (r := audit()) and not r.in_flight and r)
    assert report.is_clean, report
    assert (SandboxCharge.objects.filter(outcome="captured").count(), SandboxRefund.objects.count()) == (2, 1)


@pytest.mark.parametrize("age_s", [400, -400])
def test_an_old_or_early_signature_is_refused(client, age_s):
    body = b'{"id": "e", "type": "charge.succeeded", "data": {"idempotency_key": "k"}}'
    answer = post_event(client, body, sandbox_signature(body, int(time.time()) - age_s))

    assert (answer.status_code, answer.json()["code"]) == (400, "signature_invalid")


@pytest.mark.parametrize("signature", ["", "t=1", "t=x,v1=y", "v1=00", "t=99999999999999999999,v1=0", "t=1,v1=é"])
def test_a_bad_signature_is_refused(client, signature):
    answer = post_event(client, b"{}", signature)

    assert (answer.status_code, answer.json()["code"]) == (400, "signature_invalid")


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"null", b'{"id": 1, "type": "x", "data": {}}', b"\xff"])
def test_a_signed_body_that_is_no_event_is_refused(client, body):
    answer = post_event(client, body, sandbox_signature(body))

    assert answer.status_code == 400


def test_an_event_of_an_unknown_charge_is_taken_and_has_no_effect(client):
    body = json.dumps({"id": uuid.uuid4().hex, "type": "charge.succeeded", "data": {"idempotency_key": "nobody"}}).encode()

    assert post_event(client, body, sandbox_signature(body)).status_code == 200


@pytest.fixture
def refund(customer):
    """A refund is wanted for a payment of an order; ``is_known``: the provider has the charge."""

    def want(*, is_known=True):
        order_id = uuid.uuid4()
        request = payments.PaymentRequest(order_id, customer.pk, Decimal(5), "EUR", "pm_ok")
        [payment] = payments.open_payments([request], Payment.Origin.CHAIN)
        payments.record(asked([payment]), applied=True)
        payments.request_refund(payments.captured_of(order_id), "planted")
        if not is_known:
            SandboxCharge.objects.filter(idempotency_key=payment.hex).delete()
        return Refund.objects.get(payment=payment)

    return want


def status_of(refund):
    return Refund.objects.values_list("status", "attempts").get(pk=refund.pk)


def test_a_refund_that_the_provider_refuses_keeps_no_other_back(refund):
    refused, good = refund(is_known=False), refund()
    Refund.objects.filter(pk=refused.pk).update(next_attempt_at=now() - timedelta(hours=1))

    payments.process_refunds(2)

    assert (status_of(refused), status_of(good)) == (("requested", 1), ("succeeded", 1))


def test_the_refund_that_is_due_the_longest_is_sent_first(refund):
    younger, older = refund(), refund()
    Refund.objects.filter(pk=older.pk).update(next_attempt_at=now() - timedelta(hours=1))

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_indexscan = off")  # which would bring the order along, by chance
        cursor.execute("SET LOCAL enable_bitmapscan = off")
        payments.process_refunds(1)

    assert (status_of(younger), status_of(older)) == (("requested", 0), ("succeeded", 1))
