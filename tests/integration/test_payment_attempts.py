"""A card is tried so often and no more, per order and per customer, and the provider hears nothing of the rest."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db.models import F

from flashsale.core.errors import FlashsaleError
from inventory.admission import gate
from orders import services
from orders.models import Order
from payments import services as payments
from payments.models import Payment, SandboxCharge
from payments.services import attempts
from tasks.steps import request_payments
from tests.conftest import keep_asleep
from tests.integration.test_pipeline import together

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def reserved(make_item, order):
    """Orders of a customer that are rows and whose payment nobody has asked for."""
    item = make_item(units=1_000, per_customer=1_000)

    def reserve(customer, count=1, method=""):
        keep_asleep(item)  # each time: a claim ends it
        ids = [order(item, customer, method=method).order_id for _ in range(count)]
        claim = gate.claim(item.pk, consumer="c", limit=1_000, in_flight=1_000)
        services.deduct(item.pk, [admitted for _, admitted in claim.entries])
        gate.ack(item.pk, claim.entries)
        services.create(ids)
        return ids

    return reserve


@pytest.fixture
def waiting(reserved):
    """Orders of a customer that wait for their payment."""

    def wait(customer, count=1):
        ids = reserved(customer, count)
        services.request_payments(ids)
        return ids

    return wait


def pay(api, order_id, method="pm_declined"):
    answer = api.post(f"/api/v1/orders/{order_id}/pay/", {"payment_method": method}, format="json")
    Payment.objects.filter(status__in=["created", "processing"]).update(next_attempt_at=F("created_at"))
    request_payments.charge_and_apply(payments.due_payments(100))
    return answer


def test_of_60_declined_payments_of_one_order_the_provider_sees_10(waiting, customer, api):
    [order_id] = waiting(customer)

    answers = [pay(api, order_id) for _ in range(60)]

    assert [answer.status_code for answer in answers] == [202] * 10 + [409] * 50
    assert {answer.json()["code"] for answer in answers[10:]} == {"payment_attempts_exhausted"}
    assert (Payment.objects.count(), SandboxCharge.objects.count()) == (10, 10)
    assert Order.objects.get().status == "pending_payment"


def test_an_open_payment_is_no_further_attempt(waiting, customer, settings):
    settings.PAYMENT_ATTEMPTS_PER_ORDER = 1
    [order_id] = waiting(customer)
    assert services.pay(order_id, customer.pk, "pm_slow")

    assert services.pay(order_id, customer.pk, "pm_slow") is None


def test_a_customer_has_so_many_failed_payments_an_hour_over_all_orders(waiting, customer, customers, api, settings):
    settings.FAILED_PAYMENTS_PER_HOUR = 3
    orders = waiting(customer, 5)
    assert [pay(api, order_id).status_code for order_id in orders[:3]] == [202, 202, 202]

    refused = pay(api, orders[3], "pm_ok")

    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_payments")
    assert 3_500 < int(refused.headers["Retry-After"]) <= 3_600
    assert SandboxCharge.objects.count() == 3
    [other] = customers(1, "other")
    assert services.pay(waiting(other)[0], other.pk, "pm_ok")
    Payment.objects.update(created_at=F("created_at") - timedelta(hours=1))
    assert pay(api, orders[3], "pm_ok").status_code == 202


def test_payments_that_succeed_count_against_nobody(waiting, customer, api, settings):
    settings.FAILED_PAYMENTS_PER_HOUR = 3
    orders = waiting(customer, 5)

    assert [pay(api, order_id, "pm_ok").status_code for order_id in orders] == [202] * 5


def test_payments_of_several_orders_at_once_stay_within_the_bound(waiting, customer, settings):
    settings.FAILED_PAYMENTS_PER_HOUR = 3
    orders = waiting(customer, 8)

    def attempt(number):
        try:
            return services.pay(orders[number], customer.pk, "pm_declined") is not None
        except FlashsaleError as error:
            return error.code

    found = together(8, attempt)

    assert sorted(found, key=str) == [True] * 3 + ["too_many_payments"] * 5
    assert Payment.objects.count() == 3


def test_the_chain_asks_nothing_for_a_customer_over_the_bound(reserved, customer, customers, settings):
    settings.FAILED_PAYMENTS_PER_HOUR = 2
    [other] = customers(1, "other")
    request_payments.request_payments.run([str(pk) for pk in reserved(customer, 2, "pm_declined")])
    assert SandboxCharge.objects.count() == 2

    third, theirs = reserved(customer, 1, "pm_declined") + reserved(other, 1, "pm_ok")
    request_payments.request_payments.run([str(third), str(theirs)])

    statuses = dict(Order.objects.values_list("pk", "status"))
    assert (statuses[third], statuses[theirs]) == ("pending_payment", "paid")
    assert not Payment.objects.filter(order_id=third).exists()


@pytest.mark.slow
def test_the_bound_is_looked_up_by_an_index(customer):
    Payment.objects.bulk_create(
        Payment(id=pk, order_id=uuid4(), customer_id=n, amount=1, currency="EUR", idempotency_key=pk.hex, status="failed")
        for n, pk in ((n, uuid4()) for n in range(2_000))
    )

    plan = attempts.unsuccessful([customer.pk]).explain()

    assert "payment_attempts_by_customer" in plan
