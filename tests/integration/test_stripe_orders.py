"""Orders whose money is taken by Stripe: over HTTP against the stand-in, whatever happens in whatever order."""

import itertools
import json
import time
from decimal import Decimal

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.urls import reverse
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from flashsale.core.errors import FlashsaleError
from inventory.services import add_item
from orders import services
from payments import services as payments
from payments.models import Payment, ProviderEvent, Refund
from payments.providers.registry import provider
from payments.providers.signature import sign
from tasks.repair.audit import audit
from tasks.steps import gate_effects
from tests.conftest import client_of, keep_asleep, open_gate
from tests.fakes import stripe
from tests.integration.test_late_truth import Buying

pytestmark = pytest.mark.django_db(transaction=True)
_SECRETS = "_secret_|whsec_|sk_test_|client_secret|4242"
_METHODS = ("pm_card_visa", "pm_card_threeDSecure2Required", "pm_card_processing", "pm_card_chargeDeclined", "card")


@pytest.fixture(scope="module")
def stripe_server():
    with stripe.running() as server:
        yield server


@pytest.fixture
def at_stripe(settings, stripe_server):
    """The shop takes its money at the stand-in."""
    stripe_server.tell("reset")
    settings.PAYMENT_PROVIDER = "stripe"
    settings.PROVIDER_OPTIONS = settings.PROVIDER_OPTIONS | {"stripe": stripe_server.options}
    return stripe_server


class AtStripe(Buying):
    """An order and all that may happen to it, with Stripe's books as the truth."""

    def __init__(self, server, item, admission):
        self.server, self.heard = server, 0
        super().__init__(item, admission)

    def intent(self, number):
        keys = [payment.idempotency_key for payment in self.payments]
        found = [each for each in self.server.state()["intents"] if each["metadata"]["payment"] in keys[number : number + 1]]
        return found[0] if found else None

    def _customer(self, number, *, is_good):
        """The customer confirms, or fails to, while Stripe waits for that."""
        intent = self.intent(number)
        if intent and intent["status"] in ("requires_action", "requires_payment_method", "requires_confirmation", "processing"):
            self.server.tell("customer", intent=intent["id"], is_good=is_good)

    def succeeded(self):
        self._customer(0, is_good=True)

    def failed(self):
        self._customer(0, is_good=False)

    def second_succeeded(self):
        self._customer(1, is_good=True)

    def second_failed(self):
        self._customer(1, is_good=False)

    def answer_lost(self):
        self.server.tell("behave", faults=["lost"])
        for answers in payments.ask(self._due()):
            assert all(answer.status == "unknown" for answer in answers) or answers
        self.server.tell("behave", faults=[])

    def _hear(self, events):
        for event in events:
            body = json.dumps(event).encode()
            payments.receive_event("stripe", body, {"Stripe-Signature": sign(body, int(time.time()), stripe.SECRET)})

    def hooks_in_order(self):
        self._hear(self.server.state()["events"])

    def hooks_reversed(self):
        self._hear(reversed(self.server.state()["events"]))

    def newest_hook(self):
        self._hear(self.server.state()["events"][-1:])

    def paid_again(self):
        self._attempt(services.pay, self.id, self.order.customer_id, "pm_card_visa")

    def settle(self):
        self.server.tell("behave", faults=[])
        for _ in range(4):
            self._customer(0, is_good=False)
            self.asked()
            self.hooks_in_order()
            self.verified()
            self.told()
            Refund.objects.update(next_attempt_at=Now())
            self.refunds_sent()
        self.expired()
        gate_effects.apply()

    def held_by_the_provider(self):
        return Decimal(self.server.held([payment.idempotency_key for payment in self.payments])).scaleb(-2)

    def check(self):
        order = self.order
        assert self.held_by_the_provider() == (order.unit_price if order.status == "paid" else 0), order.status
        captured = {each["metadata"]["payment"] for each in self.server.state()["intents"] if each["status"] == "succeeded"}
        for payment in self.payments:
            assert (payment.status == "succeeded") == (payment.idempotency_key in captured), payment.status
        assert not Refund.objects.filter(payment__order_id=self.id).exclude(status="succeeded").exists()


_STEPS = (
    AtStripe.asked,
    AtStripe.answer_lost,
    AtStripe.succeeded,
    AtStripe.failed,
    AtStripe.second_succeeded,
    AtStripe.hooks_in_order,
    AtStripe.hooks_reversed,
    AtStripe.newest_hook,
    AtStripe.told,
    AtStripe.verified,
    AtStripe.paid_again,
    AtStripe.cancelled,
    AtStripe.expired,
    AtStripe.refunded,
    AtStripe.put_back,
    AtStripe.refunds_sent,
)


@pytest.fixture
def buying(at_stripe, make_item, customer, order, settings):
    settings.FAILED_PAYMENTS_PER_HOUR = settings.PAYMENT_ATTEMPTS_PER_ORDER = settings.UNPAID_ORDERS_PER_ITEM = 1_000
    item = make_item(units=1_000, per_customer=1_000)

    def begin(method="pm_card_visa"):
        keep_asleep(item)
        return AtStripe(at_stripe, item, order(item, customer, method=method))

    return begin


def test_in_whatever_order_things_happen_stripe_holds_what_paid_orders_cost(buying):
    @given(st.sampled_from(_METHODS), st.lists(st.sampled_from(_STEPS), max_size=10))
    @examples(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def play(method, steps):
        one = buying(method)
        for step in steps:
            step(one)
        one.settle()
        one.check()

    play()

    assert audit().is_clean, [check for check in audit().checks if check.breaches]


@pytest.mark.parametrize("hooks", list(itertools.permutations(["failed", "succeeded"])), ids="-".join)
def test_hooks_of_a_failure_and_a_later_success_pay_the_order_in_either_order(buying, hooks):
    one = buying("pm_card_threeDSecure2Required")
    one.asked()
    one.failed()
    one.succeeded()  # the customer confirms the same intent with another card
    kinds = {"failed": "payment_intent.payment_failed", "succeeded": "payment_intent.succeeded"}
    events = {event["type"]: event for event in one.server.state()["events"]}

    for hook in hooks:
        one._hear([events[kinds[hook]]] * 2)
        one.told()

    assert one.order.status == "paid"
    one.check()


def test_3d_secure_that_comes_after_the_deadline_is_given_back(buying):
    one = buying("pm_card_threeDSecure2Required")
    one.asked()
    assert Payment.objects.get().needs_action
    one.expired()
    one.succeeded()

    one.hooks_in_order()
    one.told()
    one.refunds_sent()

    assert (one.order.status, one.held_by_the_provider()) == ("cancelled", 0)


def test_a_customer_confirms_3d_secure_over_the_api(buying, customer):
    one = buying("pm_card_threeDSecure2Required")
    client = client_of(customer)
    none = client.post(f"/api/v1/orders/{one.id}/payment-action/", {}, format="json")
    one.asked()

    view = client.get(f"/api/v1/orders/{one.id}/").json()
    action = client.post(f"/api/v1/orders/{one.id}/payment-action/", {}, format="json")

    assert (none.status_code, none.json()["code"]) == (409, "no_action_needed")
    assert (view["payment"]["status"], view["payment"]["needs_action"]) == ("processing", True)
    assert action.status_code == 200
    assert action.json()["url"].startswith("https://hooks.example/authenticate/")
    assert action["Cache-Control"] == "no-store"


def test_nobody_else_is_told_what_a_payment_waits_for(buying, customers):
    one = buying("pm_card_threeDSecure2Required")
    one.asked()
    [other] = customers(1)

    assert client_of(other).post(f"/api/v1/orders/{one.id}/payment-action/", {}, format="json").status_code == 404


def test_while_stripe_is_down_orders_wait_and_are_charged_when_it_is_back(buying):
    breaker = provider("stripe")._calls.breaker
    orders = [buying() for _ in range(3)]
    while breaker.state == "closed":
        breaker.failed()
    requests = one_server_requests(orders)

    for one in orders:
        one.asked()

    assert one_server_requests(orders) == requests
    rows = list(Payment.objects.values_list("status", "failure_code", "attempts"))
    assert rows == [("created", "provider_unavailable", 1)] * 3
    assert {one.order.status for one in orders} == {"pending_payment"}

    breaker._probe_at = breaker._probing_until = 0.0  # the time is over: three probes are let through
    for one in orders:
        one.asked()

    assert breaker.state == "closed"
    assert {one.order.status for one in orders} == {"paid"}
    assert set(Payment.objects.values_list("failure_code", flat=True)) == {""}


def one_server_requests(orders):
    return orders[0].server.state()["requests"]


def test_no_secret_and_no_card_is_in_any_row(buying):
    for method in _METHODS:
        one = buying(method)
        one.asked()
        one.succeeded()
        one.hooks_in_order()
        one.told()
        try:
            services.refund_by_staff(one.id, "staff")
        except FlashsaleError:
            continue
        one.refunds_sent()

    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        tables = [name for (name,) in cursor.fetchall()]
        for table in tables:
            cursor.execute(f'SELECT count(*) FROM "{table}" t WHERE t::text ~ %s', [_SECRETS])
            assert cursor.fetchone() == (0,), table
    assert ProviderEvent.objects.filter(outcome="applied").exists()


def test_an_order_in_a_currency_without_decimals_is_charged_in_its_units(at_stripe, make_item, customer, order):
    sale = make_item().sale
    item = add_item(sale=sale, sku="yen", name="yen", units=1, price=Decimal(500), currency="JPY", per_customer=1)
    open_gate(item.pk)
    keep_asleep(item)
    one = AtStripe(at_stripe, item, order(item, customer, method="pm_card_visa"))

    one.asked()

    [intent] = at_stripe.state()["intents"]
    assert (intent["amount"], intent["currency"], one.order.status) == (500, "jpy", "paid")


def test_staff_see_the_timeline_of_a_payment_and_those_that_need_a_person(buying, admin_client):
    one, other = buying(), buying()
    for each in (one, other):
        each.asked()
    one.hooks_in_order()
    one.told()
    services.refund_by_staff(one.id, "staff")
    Refund.objects.update(status="failed", failure_code="no_such_charge")
    [payment] = one.payments

    page = admin_client.get(reverse("admin:payments_payment_change", args=[payment.pk])).text
    listed = admin_client.get(reverse("admin:payments_payment_changelist"), {"person": "1"}).text

    assert "event payment_intent.succeeded: Applied" in page
    assert "refund failed no_such_charge" in page
    assert (str(payment.pk) in listed, str(other.payments[0].pk) in listed) == (True, False)
