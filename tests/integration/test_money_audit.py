"""Money that nothing explains is named by the audit; what is on its way is none."""

from decimal import Decimal
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from inventory.admission import gate
from orders import services
from orders.models import Order
from payments import services as payments
from payments.models import Payment, ProviderEvent, Refund, SandboxCharge, SandboxRefund
from tasks.repair.audit import audit
from tasks.steps import gate_effects, request_payments
from tests.conftest import asked, keep_asleep
from tests.integration.test_late_truth import tell

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def paid(make_item, customer, order):
    """An order that is paid, with gate and ledger at rest."""
    item = make_item(units=5)
    keep_asleep(item)
    order_id = order(item, customer, method="pm_ok").order_id
    claim = gate.claim(item.pk, consumer="c", limit=1, in_flight=1)
    services.deduct(item.pk, [admitted for _, admitted in claim.entries])
    gate.ack(item.pk, claim.entries)
    services.create([order_id])
    request_payments.request_payments.run([str(order_id)])
    gate_effects.apply()
    return Order.objects.get()


def payment_failed(paid):
    Payment.objects.update(status="failed")
    return "is paid, and no payment of it has succeeded", "has failed, and the provider holds 10.0000"


def payment_gone(paid):
    Payment.objects.all().delete()
    return ("is paid, and no payment of it has succeeded",)


def paid_with_a_refund(paid):
    payments.request_refund(payments.captured_of(paid.pk), "planted")
    payments.process_refunds(1)
    return ("is paid, and no payment of it has succeeded",)


def refunded_without_a_refund(paid):
    Order.objects.update(status="refunded")
    return "is refunded, and there is no refund", "is kept"


def cancelled_and_kept(paid):
    Order.objects.update(status="cancelled")
    return ("is kept",)


def refund_failed(paid):
    services.refund_by_staff(paid.pk, "staff")
    SandboxCharge.objects.update(outcome="declined")
    Refund.objects.update(status="failed", failure_code="no_such_charge")
    return ("has failed: no_such_charge",)


@pytest.mark.parametrize(
    "break_it", [payment_failed, payment_gone, paid_with_a_refund, refunded_without_a_refund, cancelled_and_kept, refund_failed]
)
def test_rows_that_do_not_explain_each_other_are_named(paid, break_it):
    assert audit().is_clean
    said = break_it(paid)

    found = [check for check in audit("drop").checks if check.name == "orders, payments and refunds are consistent"]
    [breaches] = [check.breaches for check in found]

    assert len(breaches) == len(said)
    assert all(text in breach and str(paid.pk) in breach for text, breach in zip(said, breaches, strict=True))
    with pytest.raises((SystemExit, CommandError)):
        call_command("audit")


def test_a_charge_of_no_order_is_named(paid):
    SandboxCharge.objects.create(
        ref="ch_lost", idempotency_key="lost", amount=Decimal(7), currency="EUR", method="pm_ok", outcome="captured",
        decided_at=paid.created_at,
    )  # fmt: skip
    request = payments.PaymentRequest(uuid4(), paid.customer_id, Decimal(8), "EUR", "pm_ok")
    payments.record(asked(payments.open_payments([request], Payment.Origin.CHAIN)), applied=True)

    [breaches] = [check.breaches for check in audit().checks if check.name == "every charge belongs to an order"]

    assert len(breaches) == 2
    assert "charge ch_lost of 7.0000 EUR: no order for its key lost" in breaches
    assert all(check.name != "every charge belongs to an order" for check in audit("drop").checks)


def test_what_the_sweeps_are_about_to_settle_is_no_breach(paid):
    key = Payment.objects.get().idempotency_key
    services.refund_by_staff(paid.pk, "staff")
    assert audit().is_clean
    payments.process_refunds(1)
    assert audit().is_clean
    SandboxRefund.objects.all().delete()
    Refund.objects.all().delete()
    Order.objects.update(status="cancelled")
    Payment.objects.update(status="failed")
    tell(key, "charge.succeeded")
    of_money = ("one successful charge", "paid = ", "orders, payments", "every charge")
    assert not [check for check in audit().checks if check.breaches and check.name.startswith(of_money)]

    request_payments.settle_events(10)
    payments.process_refunds(1)

    assert ProviderEvent.objects.get().outcome == "applied"
    assert (Refund.objects.get().status, SandboxRefund.objects.count()) == ("succeeded", 1)
