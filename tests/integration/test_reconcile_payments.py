"""The provider's books and ours, compared: each kind of difference is named, and what is safe is repaired."""

from datetime import timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from flashsale.core.clock import now
from orders import services
from payments import services as payments
from payments.models import Payment, ProviderEvent, Refund
from tasks import reconcile_payments as reconciling
from tests.integration.test_stripe_orders import at_stripe, buying, stripe_server

pytestmark = pytest.mark.django_db(transaction=True)
__all__ = ["at_stripe", "buying", "stripe_server"]


@pytest.fixture(autouse=True)
def nothing_is_too_young(monkeypatch):
    monkeypatch.setattr(reconciling, "_JUST_NOW", timedelta(minutes=-1))


def found(**options):
    return [each.kind.name for each in reconciling.reconcile_payments(now() - timedelta(hours=1), **options)]


def test_books_that_agree_have_no_difference(buying):
    for method in ("pm_card_visa", "pm_card_chargeDeclined"):
        buying(method).asked()

    assert found() == []


def test_a_capture_that_was_not_recorded_pays_its_order(buying):
    one = buying()
    one.asked()
    Payment.objects.update(status="failed")
    type(one.order).objects.update(status="pending_payment")

    assert found(dry_run=True) == ["NOT_RECORDED"]
    assert one.payments[0].status == "failed"
    assert found() == ["NOT_RECORDED"]

    assert (one.order.status, one.payments[0].status) == ("paid", "succeeded")
    assert found() == []


def test_a_capture_of_an_order_that_is_over_is_given_back(buying):
    one = buying()
    one.answer_lost()
    one.expired()

    assert found() == ["NOT_RECORDED"]
    one.refunds_sent()

    assert (one.order.status, one.held_by_the_provider()) == ("cancelled", 0)


def test_money_that_no_payment_explains_is_shown(at_stripe, buying):
    at_stripe.tell("plant")

    assert found() == ["NO_PAYMENT"]


def test_another_amount_a_refund_of_others_and_a_missing_capture_are_shown(at_stripe, buying):
    amount, refund, missing, less = (buying() for _ in range(4))
    for one in (amount, refund, missing, less):
        one.asked()
    Payment.objects.filter(order_id=amount.id).update(amount=Decimal(11))
    at_stripe.tell("give_back", intent=refund.intent(0)["id"])
    Payment.objects.filter(order_id=missing.id).update(idempotency_key="lost")
    services.refund_by_staff(less.id, "staff")
    Refund.objects.update(status="succeeded")

    assert sorted(found()) == ["NOT_CAPTURED", "NO_PAYMENT", "OTHER_AMOUNT", "REFUNDED_LESS", "REFUNDED_MORE"]


def test_the_command_names_each_difference_and_fails(at_stripe, buying):
    at_stripe.tell("plant")
    out = StringIO()

    with pytest.raises(CommandError, match="a person has to look"):
        call_command("reconcile_payments", "--since", f"{now() - timedelta(hours=1):%Y-%m-%dT%H:%M}", stdout=out)
    assert out.getvalue().startswith("no_payment: no key pi_")
    assert out.getvalue().endswith("1 differences\n")


def test_settled_events_are_deleted_after_their_time_and_others_are_kept():
    for number, (outcome, age) in enumerate([("applied", 91), ("applied", 89), ("", 91)]):
        ProviderEvent.objects.create(
            provider="stripe",
            event_id=f"evt_{number}",
            kind="x",
            payload={},
            outcome=outcome,
            received_at=now() - timedelta(days=age),
        )

    assert payments.forget_events(timedelta(days=90)) == 1
    assert sorted(ProviderEvent.objects.values_list("event_id", flat=True)) == ["evt_1", "evt_2"]
