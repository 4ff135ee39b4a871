"""What a provider says arrives in any order, more than once and late; the money is right in the end all the same."""

import itertools
import json
from datetime import timedelta
from decimal import Decimal
from functools import partial

import pytest
from django.db.models import Sum
from django.db.models.functions import Now
from django.urls import reverse
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from flashsale.core.errors import FlashsaleError
from inventory.admission import gate
from orders import services
from orders.errors import NotCancellable
from orders.models import Order
from payments import services as payments
from payments.models import Payment, ProviderEvent, Refund, SandboxCharge, SandboxRefund
from tasks.repair.audit import audit
from tasks.steps import gate_effects, request_payments
from tests.conftest import asked, keep_asleep, sandbox_signature
from tests.integration.test_pipeline import together
from tests.integration.test_staff_guards import form_of

pytestmark = pytest.mark.django_db(transaction=True)
_events = itertools.count()
_METHODS = ("pm_ok", "pm_unknown", "pm_slow", "pm_declined", "pm_unavailable")


class Buying:
    """One order that waits for its money, and everything that may happen to it."""

    def __init__(self, item, admission):
        claim = gate.claim(item.pk, consumer="c", limit=10, in_flight=1000)
        entries = [(entry, order) for entry, order in claim.entries if order.id == admission.order_id]
        services.deduct(item.pk, [order for _, order in entries])
        gate.ack(item.pk, entries)
        services.create([admission.order_id])
        self.id = admission.order_id
        services.request_payments([self.id])

    @property
    def order(self):
        return Order.objects.get(pk=self.id)

    @property
    def payments(self):
        return list(Payment.objects.filter(order_id=self.id).order_by("pk"))

    def _due(self):
        Payment.objects.filter(order_id=self.id).update(next_attempt_at=Now())
        ProviderEvent.objects.update(next_attempt_at=Now())
        return [payment.pk for payment in self.payments]

    def asked(self):
        request_payments.charge_and_apply(self._due())

    def answer_lost(self):
        asked(self._due())

    def _event(self, kind, number):
        """The provider tells of a charge, of its own accord; what it tells is in its books."""
        if number < len(self.payments):
            tell(self.payments[number].idempotency_key, kind)

    def succeeded(self):
        self._event("charge.succeeded", 0)

    def failed(self):
        self._event("charge.failed", 0)

    def second_succeeded(self):
        self._event("charge.succeeded", 1)

    def second_failed(self):
        self._event("charge.failed", 1)

    def told(self):
        """What the webhook's message does, at once."""
        request_payments.apply_outcomes.run([str(payment.pk) for payment in self.payments])

    def verified(self):
        """What the sweep does, some seconds later."""
        self._due()
        request_payments.settle_events(100)
        request_payments.apply(payments.untold_answers(payments.decided_payments(100)))

    def _attempt(self, act, *arguments):
        try:
            return act(*arguments)
        except FlashsaleError:
            return None

    def paid_again(self):
        self._attempt(services.pay, self.id, self.order.customer_id, "pm_ok")

    def cancelled(self):
        self._attempt(services.cancel, self.id, self.order.customer_id)

    def expired(self):
        Order.objects.filter(pk=self.id).update(expires_at=Now() - timedelta(seconds=1))
        services.cancel_unpaid(100)

    def refunded(self):
        self._attempt(services.refund_by_staff, self.id, "staff")

    def put_back(self):
        self._attempt(partial(services.refund_by_staff, restock=True), self.id, "staff")

    def refunds_sent(self):
        payments.process_refunds(100)

    def settle(self):
        for _ in range(4):
            SandboxCharge.objects.update(decided_at=Now())
            self.asked()
            self.verified()
            self.told()
            Refund.objects.update(next_attempt_at=Now())
            self.refunds_sent()
        self.expired()
        gate_effects.apply()

    def held_by_the_provider(self):
        keys = [payment.idempotency_key for payment in self.payments]
        captured = SandboxCharge.objects.filter(idempotency_key__in=keys, outcome="captured").aggregate(sum=Sum("amount"))
        back = SandboxRefund.objects.filter(charge__idempotency_key__in=keys).aggregate(sum=Sum("amount"))
        return (captured["sum"] or Decimal(0)) - (back["sum"] or Decimal(0))

    def check(self):
        order = self.order
        assert self.held_by_the_provider() == (order.unit_price if order.status == "paid" else 0), order.status
        kept = [payment for payment in self.payments if payment.status == "succeeded" and not hasattr(payment, "refund")]
        assert len(kept) == (order.status == "paid")
        captured = set(SandboxCharge.objects.filter(outcome="captured").values_list("idempotency_key", flat=True))
        for payment in self.payments:
            assert (payment.status == "succeeded") == (payment.idempotency_key in captured)
        assert not Refund.objects.filter(payment__order_id=self.id).exclude(status="succeeded").exists()


_STEPS = (
    Buying.asked,
    Buying.answer_lost,
    Buying.succeeded,
    Buying.failed,
    Buying.second_succeeded,
    Buying.second_failed,
    Buying.told,
    Buying.verified,
    Buying.paid_again,
    Buying.cancelled,
    Buying.expired,
    Buying.refunded,
    Buying.put_back,
    Buying.refunds_sent,
)


def tell(key, kind):
    body = json.dumps({"id": f"evt_{next(_events)}", "type": kind, "data": {"idempotency_key": key}}).encode()
    return payments.receive_event("sandbox", body, {"Sandbox-Signature": sandbox_signature(body)})


@pytest.fixture
def buying(make_item, customer, order, settings):
    """Makes an order with a payment of this method, which nobody has asked the provider about."""
    settings.FAILED_PAYMENTS_PER_HOUR = settings.PAYMENT_ATTEMPTS_PER_ORDER = settings.UNPAID_ORDERS_PER_ITEM = 1_000
    item = make_item(units=1_000, per_customer=1_000)

    def begin(method="pm_ok"):
        keep_asleep(item)  # each time: a claim ends it
        return Buying(item, order(item, customer, method=method))

    return begin


@pytest.mark.slow
def test_in_whatever_order_things_happen_the_provider_holds_what_paid_orders_cost(buying):
    @given(
        st.sampled_from(["pm_ok", "pm_unknown", "pm_slow", "pm_declined", "pm_unavailable"]),
        st.lists(st.sampled_from(_STEPS), max_size=12),
    )
    @examples(max_examples=50, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def play(method, steps):
        one = buying(method)
        for step in steps:
            step(one)
        one.settle()
        one.check()

    play()

    assert audit().is_clean, [check for check in audit().checks if check.breaches]


def test_success_after_failure_pays_the_order_that_still_waits(buying):
    one = buying("pm_unknown")
    one.answer_lost()
    one.failed()
    one.told()
    assert (one.order.status, one.payments[0].status) == ("pending_payment", "failed")

    one.succeeded()
    one.told()

    assert (one.order.status, one.payments[0].status) == ("paid", "succeeded")
    assert not Refund.objects.exists()


def test_success_after_failure_is_refunded_when_the_order_is_over(buying):
    one = buying("pm_unknown")
    one.answer_lost()
    one.failed()
    one.told()
    one.expired()

    one.succeeded()
    one.told()
    one.refunds_sent()

    assert one.order.status == "cancelled"
    assert one.held_by_the_provider() == 0
    assert Refund.objects.get().status == "succeeded"


def test_of_two_captures_one_pays_the_order_and_the_other_goes_back(buying):
    one = buying("pm_unknown")
    one.answer_lost()
    one.failed()
    one.told()
    one.paid_again()
    one.asked()
    assert one.order.status == "paid"

    one.succeeded()
    one.told()
    one.refunds_sent()

    assert [payment.status for payment in one.payments] == ["succeeded", "succeeded"]
    assert Refund.objects.get().payment == one.payments[0]
    assert one.held_by_the_provider() == one.order.unit_price


def test_an_answer_that_contradicts_an_event_pays_the_order_with_a_payment_that_succeeded(buying):
    one = buying("pm_ok")
    answers = asked(one._due())
    one.failed()

    request_payments.apply(answers)

    assert (one.order.status, one.payments[0].status) == ("paid", "succeeded")
    services.refund_by_staff(one.id, "staff")
    assert Refund.objects.get().payment == one.payments[0]


def test_failure_after_success_takes_nothing_back(buying):
    one = buying("pm_ok")
    one.asked()

    one.failed()
    one.told()

    assert (one.order.status, one.payments[0].status) == ("paid", "succeeded")


def test_an_event_that_says_failed_is_verified(buying):
    one = buying("pm_unknown")
    one.answer_lost()
    one.failed()
    one.told()

    one.verified()

    assert (one.order.status, one.payments[0].status) == ("paid", "succeeded")
    assert ProviderEvent.objects.get().outcome == "contradicted"


def test_a_failure_that_the_provider_confirms_is_not_asked_about_again(buying):
    one = buying("pm_declined")
    one.asked()
    one.failed()
    one.verified()

    assert ProviderEvent.objects.get().outcome == "applied"
    assert SandboxCharge.objects.get().asked == 1


def test_staff_cannot_refund_an_order_for_which_nothing_was_captured(buying):
    one = buying("pm_ok")
    one.asked()
    Payment.objects.update(status="failed")
    SandboxCharge.objects.update(outcome="declined")

    with pytest.raises(NotCancellable):
        services.refund_by_staff(one.id, "staff")

    assert one.order.status == "paid"
    assert not Refund.objects.exists()


def test_staff_may_refund_a_failed_payment_that_was_captured(buying):
    one = buying("pm_ok")
    one.asked()
    Payment.objects.update(status="failed")

    services.refund_by_staff(one.id, "staff")
    one.refunds_sent()

    assert (one.order.status, one.payments[0].status, one.payments[0].refund.status) == ("refunded", "succeeded", "succeeded")
    assert one.held_by_the_provider() == 0


def test_a_success_that_explains_a_paid_order_is_not_given_back(buying):
    one = buying("pm_ok")
    one.asked()
    Payment.objects.update(status="failed")  # as an earlier release left it

    one.succeeded()
    one.told()

    one.check()
    assert (one.order.status, Refund.objects.count()) == ("paid", 0)


def test_a_charge_that_was_declined_may_be_captured_later(buying):
    one = buying("pm_declined")
    one.asked()
    assert (one.order.status, one.payments[0].status) == ("pending_payment", "failed")

    one.succeeded()
    assert one.payments[0].status == "failed"  # nothing moves before the books were asked
    one.told()

    one.check()
    assert (one.order.status, SandboxCharge.objects.get().outcome) == ("paid", "captured")


def test_an_event_that_comes_before_its_payment_is_applied_when_that_is_there(buying):
    one = buying("pm_unknown")
    payment = one.payments[0]
    key = payment.idempotency_key
    Payment.objects.update(idempotency_key="not yet there")
    assert tell(key, "charge.succeeded") == []
    request_payments.settle_events(100)
    event = ProviderEvent.objects.get()
    assert (event.outcome, event.attempts) == ("", 1)

    Payment.objects.update(idempotency_key=key)
    one.verified()

    one.check()
    assert (one.order.status, ProviderEvent.objects.get().outcome) == ("paid", "applied")


def test_an_event_of_an_unknown_kind_is_kept_for_staff_and_asked_about_by_nobody(buying):
    assert tell("", "payout.paid") == []

    ProviderEvent.objects.update(next_attempt_at=Now())
    request_payments.settle_events(100)

    event = ProviderEvent.objects.get()
    assert (event.kind, event.outcome, event.attempts) == ("payout.paid", "unknown_kind", 0)


def test_an_event_whose_answer_was_not_applied_is_confirmed_again(buying):
    one = buying("pm_unknown")
    one.succeeded()
    payments.confirm_events(100)  # whoever asked dies here

    one.verified()

    one.check()
    assert (one.order.status, ProviderEvent.objects.get().outcome) == ("paid", "applied")


def test_a_refund_that_failed_is_sent_again_when_the_charge_is_captured_after_all(buying):
    one = buying("pm_ok")
    one.asked()
    SandboxCharge.objects.update(outcome="declined")
    services.refund_by_staff(one.id, "staff")
    for _ in range(7):
        Refund.objects.update(next_attempt_at=Now())
        one.refunds_sent()
    refund = Refund.objects.get()
    assert (refund.status, refund.failure_code, refund.attempts) == ("failed", "no_such_charge", 7)

    one.succeeded()
    one.told()
    one.refunds_sent()

    assert (one.order.status, Refund.objects.get().status) == ("refunded", "succeeded")
    assert one.held_by_the_provider() == 0


def test_staff_send_a_failed_refund_again(buying, admin_client):
    one = buying("pm_ok")
    one.asked()
    services.refund_by_staff(one.id, "staff")
    Refund.objects.update(status="failed", failure_code="no_such_charge", attempts=7)
    url = reverse("admin:payments_refund_press_send_again", args=[Refund.objects.get().pk])

    assert admin_client.post(url, form_of(admin_client.get(url))).status_code == 302
    one.refunds_sent()

    assert Refund.objects.get().status == "succeeded"
    assert one.held_by_the_provider() == 0


def test_events_and_answers_at_once_pay_once(buying):
    one = buying("pm_unknown")
    one.answer_lost()
    one.failed()
    one.paid_again()
    actions = [one.asked, one.succeeded, one.told, one.verified, one.asked, one.succeeded, one.told, one.failed]

    together(8, lambda n: actions[n]())

    one.settle()
    one.check()
    assert one.order.status == "paid"


@pytest.mark.parametrize("method", ["pm_unknown", "pm_slow", "pm_declined"])
def test_everything_at_once_leaves_the_money_of_a_paid_order_or_none(buying, method):
    for _ in range(4):
        one = buying(method)
        one.answer_lost()
        one.failed()
        one.paid_again()
        one.second_succeeded()
        actions = [one.asked, one.succeeded, one.told, one.verified, one.second_failed]
        actions += [one.cancelled, one.expired, one.refunded, one.put_back, one.refunds_sent]

        together(len(actions), lambda n, actions=actions: actions[n]())

        one.settle()
        one.check()
    assert audit().is_clean, [check for check in audit().checks if check.breaches]
