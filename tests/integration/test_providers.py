"""The contract of a payment provider, over every one there is; Stripe is asked over HTTP, through its SDK."""

import itertools
import json
import threading
import time
import uuid
from datetime import timedelta
from decimal import Decimal

import pytest

from flashsale.core.clock import now
from flashsale.core.errors import Invalid
from payments.models import SandboxCharge
from payments.providers.base import ChargeRequest, NoSuchCharge, Outcome, SignatureInvalid
from payments.providers.registry import NoSuchProvider, provider
from payments.providers.signature import sign
from tests.fakes import stripe

pytestmark = pytest.mark.django_db(transaction=True)
_SECRETS = "the-newer-secret-of-the-webhooks, the-older-secret-of-the-webhooks"


@pytest.fixture(scope="module")
def stripe_server():
    with stripe.running() as server:
        yield server


class Sandbox:
    """How a test makes the provider do what it wants to see."""

    name = "sandbox"
    methods = {"good": "pm_ok", "declined": "pm_declined", "lost": "pm_unknown"}

    def event(self, number, kind, key):
        kinds = {"succeeded": "charge.succeeded", "failed": "charge.failed", "other": "payout.paid"}
        return {"id": f"evt_{number}", "type": kinds[kind], "data": {"idempotency_key": key}}

    def before_a_charge(self, wish):
        pass

    def captures(self):
        return SandboxCharge.objects.filter(outcome="captured").count()


class Stripe(Sandbox):
    name = "stripe"
    methods = {"good": "pm_card_visa", "declined": "pm_card_chargeDeclined", "lost": "pm_card_visa"}

    def __init__(self, server):
        self.server = server

    def event(self, number, kind, key):
        kinds = {"succeeded": "payment_intent.succeeded", "failed": "payment_intent.payment_failed", "other": "payout.paid"}
        about = {"id": "pi_1", "object": "payment_intent", "metadata": {"payment": key}}
        return {"id": f"evt_{number}", "type": kinds[kind], "data": {"object": about}}

    def before_a_charge(self, wish):
        if wish == "lost":
            self.server.tell("behave", faults=["lost"])

    def captures(self):
        return sum(each["status"] == "succeeded" for each in self.server.state()["intents"])


@pytest.fixture(params=["sandbox", "stripe"])
def scene(request, settings, stripe_server):
    """A provider, and how to make it do things."""
    stripe_server.tell("reset")
    settings.PROVIDER_OPTIONS = {
        "sandbox": {"WEBHOOK_SECRET": _SECRETS},
        "stripe": stripe_server.options | {"WEBHOOK_SECRET": _SECRETS},
    }
    found = Sandbox() if request.param == "sandbox" else Stripe(stripe_server)
    found.provider = provider(request.param)
    return found


def request_of(scene, wish, *, amount="12.50", currency="EUR", **more):
    scene.before_a_charge(wish)
    values = {"method": scene.methods.get(wish, wish), "order_id": uuid.uuid4(), "opened_at": now()} | more
    return ChargeRequest(uuid.uuid4().hex, Decimal(amount), currency, **values)


def charged(scene, *requests):
    return [result for group in scene.provider.charge(requests) for result in group]


def outcome(scene, request):
    [result] = charged(scene, request)
    assert result.request.key == request.key
    return result.outcome


def test_it_takes_its_own_methods_and_no_others(scene):
    assert all(scene.provider.takes(method) for method in scene.methods.values())
    assert not any(scene.provider.takes(method) for method in ("", "pm_ök", "pm_ok ", "cash", "pm_ok\n"))


def test_a_good_method_is_captured_once_however_often_it_is_asked(scene):
    request = request_of(scene, "good")

    assert [outcome(scene, request) for _ in range(3)] == [Outcome.SUCCEEDED] * 3
    assert scene.captures() == 1


def test_a_declined_method_is_declined_and_stays_so(scene):
    request = request_of(scene, "declined")

    assert [outcome(scene, request) for _ in range(2)] == [Outcome.DECLINED] * 2
    assert scene.captures() == 0


def test_an_answer_lost_after_the_charge_is_unknown_and_asking_again_says_it_was_captured(scene):
    request = request_of(scene, "lost")

    assert outcome(scene, request) == Outcome.UNKNOWN
    assert outcome(scene, request) == Outcome.SUCCEEDED
    assert scene.captures() == 1


def test_looking_up_charges_nothing_and_tells_what_was_captured(scene):
    lost, other = request_of(scene, "lost"), request_of(scene, "lost")
    scene.before_a_charge("lost")
    charged(scene, lost)

    found = scene.provider.look_up([lost, other])

    assert [(result.request.key, result.outcome) for result in found] == [(lost.key, Outcome.SUCCEEDED)]
    assert scene.captures() == 1


def test_of_many_requests_each_has_its_own_answer(scene):
    requests = [request_of(scene, wish) for wish in ["good", "declined"] * 20]

    results = charged(scene, *requests)

    answers = {result.request.key: result.outcome for result in results}
    assert [answers[request.key] for request in requests] == [Outcome.SUCCEEDED, Outcome.DECLINED] * 20
    assert scene.captures() == 20


def test_a_refund_goes_back_once_in_whole(scene):
    request = request_of(scene, "good")
    charged(scene, request)

    refs = {scene.provider.refund(request, "refund-1", Decimal("12.50")) for _ in range(3)}

    assert len(refs) == 1
    [booked] = scene.provider.captured(now() - timedelta(minutes=1))
    assert (booked.key, booked.amount, booked.refunded, booked.currency) == (
        request.key,
        Decimal("12.50"),
        Decimal("12.50"),
        "EUR",
    )


@pytest.mark.parametrize("wish", ["declined", "never asked"])
def test_what_was_not_captured_is_not_given_back(scene, wish):
    request = request_of(scene, "declined")
    if wish == "declined":
        charged(scene, request)

    with pytest.raises(NoSuchCharge):
        scene.provider.refund(request, "refund-1", Decimal("12.50"))


@pytest.mark.parametrize(
    ("amount", "currency"), [("500", "JPY"), ("1.25", "KWD"), ("9.99", "EUR"), ("12.340", "BHD"), ("0.50", "USD")]
)
def test_an_amount_of_any_currency_arrives_as_it_is(scene, amount, currency):
    request = request_of(scene, "good", amount=amount, currency=currency)

    assert outcome(scene, request) == Outcome.SUCCEEDED

    [booked] = scene.provider.captured(now() - timedelta(minutes=1))
    assert (booked.amount, booked.currency) == (Decimal(amount), currency)


def signed(scene, event, *, secret=0, age_s=0):
    body = json.dumps(event).encode()
    secret = _SECRETS.split(", ")[secret] if isinstance(secret, int) else secret
    return body, {scene.provider.signature_header: sign(body, int(time.time()) - age_s, secret)}


@pytest.mark.parametrize(("kind", "told"), [("succeeded", Outcome.SUCCEEDED), ("failed", Outcome.DECLINED), ("other", None)])
@pytest.mark.parametrize("secret", [0, 1])
def test_an_event_signed_with_any_of_the_secrets_is_read(scene, kind, told, secret):
    event = scene.provider.read_event(*signed(scene, scene.event(1, kind, "k" * 32), secret=secret))

    assert (event.id, event.outcome) == ("evt_1", told)
    assert event.key == "k" * 32


@pytest.mark.parametrize("age_s", [301, -301, 10**9])
def test_a_signature_too_old_or_too_early_is_refused(scene, age_s):
    with pytest.raises(SignatureInvalid):
        scene.provider.read_event(*signed(scene, scene.event(1, "succeeded", "k"), age_s=age_s))


def test_a_signature_is_of_the_raw_body(scene):
    body, headers = signed(scene, scene.event(1, "succeeded", "k"))
    for other in (body + b" ", body.replace(b"evt_1", b"evt_2"), b""):
        with pytest.raises(SignatureInvalid):
            scene.provider.read_event(other, headers)


@pytest.mark.parametrize("secret", ["", "a-secret-of-somebody-else"])
def test_a_signature_of_somebody_else_is_refused(scene, secret):
    with pytest.raises(SignatureInvalid):
        scene.provider.read_event(*signed(scene, scene.event(1, "succeeded", "k"), secret=secret))


@pytest.mark.parametrize("body", [[], {}, None, "x", {"id": 1}, {"id": "e", "type": "t" * 65, "data": {"object": {}}}])
def test_a_signed_body_that_is_no_event_is_refused(scene, body):
    with pytest.raises(Invalid):
        scene.provider.read_event(*signed(scene, body))


def test_every_capture_is_listed_over_the_pages(scene):
    requests = [request_of(scene, "good") for _ in range(105)]
    charged(scene, *requests)

    listed = [booked.key for booked in scene.provider.captured(now() - timedelta(minutes=1))]

    assert sorted(listed) == sorted(request.key for request in requests)
    assert list(scene.provider.captured(now() + timedelta(minutes=1))) == []


def test_no_provider_is_served_that_the_setting_does_not_name(settings):
    settings.PAYMENT_PROVIDERS = ["sandbox"]

    for name in ("stripe", "base", "../sandbox", ""):
        with pytest.raises(NoSuchProvider):
            provider(name)


# --- what Stripe alone can do ---------------------------------------------------------------------------------------------


@pytest.fixture
def at_stripe(settings, stripe_server):
    stripe_server.tell("reset")
    settings.PROVIDER_OPTIONS = {"stripe": stripe_server.options}
    found = Stripe(stripe_server)
    found.provider = provider("stripe")
    return found


def test_an_intent_carries_order_key_and_minor_units(at_stripe):
    request = request_of(at_stripe, "good", amount="1.25", currency="KWD")

    charged(at_stripe, request)

    [intent] = at_stripe.server.state()["intents"]
    assert (intent["amount"], intent["currency"]) == (1250, "kwd")
    assert intent["metadata"] == {"order_id": str(request.order_id), "payment": request.key}


def test_a_customer_is_told_why_except_where_stripe_asks_not_to(at_stripe):
    codes = {
        method: charged(at_stripe, request_of(at_stripe, method))[0].code
        for method in ("pm_card_chargeDeclinedInsufficientFunds", "pm_card_chargeDeclinedStolenCard", "pm_nobody_has_this")
    }

    assert list(codes.values()) == ["insufficient_funds", "", "not_accepted"]


@pytest.mark.parametrize("is_good", [True, False])
def test_3d_secure_waits_for_the_customer(at_stripe, is_good):
    request = request_of(at_stripe, "pm_card_threeDSecure2Required")
    [result] = charged(at_stripe, request)
    assert result.outcome == Outcome.ACTION
    action = at_stripe.provider.action(request)
    assert action.url.startswith("https://hooks.example/authenticate/pi_")
    assert action.client_secret
    assert action.client_secret not in repr(action)

    at_stripe.server.tell("customer", intent=result.ref, is_good=is_good)

    assert outcome(at_stripe, request) == (Outcome.SUCCEEDED if is_good else Outcome.DECLINED)
    assert at_stripe.provider.action(request) is None
    assert at_stripe.captures() == is_good


def test_what_a_customer_confirms_in_the_page_is_not_charged_before(at_stripe):
    request = request_of(at_stripe, "card")
    [result] = charged(at_stripe, request)
    assert (result.outcome, at_stripe.captures()) == (Outcome.ACTION, 0)
    assert at_stripe.provider.action(request).client_secret

    at_stripe.server.tell("customer", intent=result.ref)

    assert outcome(at_stripe, request) == Outcome.SUCCEEDED


def test_what_the_customer_never_confirms_is_cancelled_after_a_day(at_stripe):
    request = request_of(at_stripe, "pm_card_threeDSecure2Required")
    charged(at_stripe, request)
    old = ChargeRequest(request.key, request.amount, "EUR", request.method, request.order_id, now() - timedelta(hours=25))

    assert outcome(at_stripe, old) == Outcome.DECLINED
    assert [each["status"] for each in at_stripe.server.state()["intents"]] == ["canceled"]


def test_a_key_that_stripe_has_forgotten_charges_nothing_twice(at_stripe):
    request = request_of(at_stripe, "good")
    charged(at_stripe, request)
    other = ChargeRequest(request.key, Decimal(99), "EUR", request.method, request.order_id, now() - timedelta(hours=25))

    assert outcome(at_stripe, other) == Outcome.SUCCEEDED  # found by its metadata; the key would have been refused
    assert at_stripe.captures() == 1


def test_a_key_with_another_amount_is_refused_and_charges_nothing(at_stripe):
    request = request_of(at_stripe, "good")
    charged(at_stripe, request)
    other = ChargeRequest(request.key, Decimal(99), "EUR", request.method, request.order_id, now())

    assert outcome(at_stripe, other) == Outcome.UNAVAILABLE
    assert [each["amount"] for each in at_stripe.server.state()["intents"]] == [1250]


@pytest.mark.parametrize(("fault", "expected"), [(500, "unknown"), ("late", "unknown"), (429, "postponed")])
def test_a_fault_before_the_charge_is_asked_about_again(at_stripe, fault, expected):
    request = request_of(at_stripe, "good")
    at_stripe.server.tell("behave", faults=[fault])

    assert outcome(at_stripe, request) == expected
    assert at_stripe.captures() == 0
    assert outcome(at_stripe, request) == Outcome.SUCCEEDED


def test_an_answer_that_takes_long_holds_no_other_up_and_comes_later(at_stripe):
    at_stripe.server.tell("behave", slow_s=2.5)
    slow, others = request_of(at_stripe, "pm_card_slow"), [request_of(at_stripe, "good") for _ in range(10)]
    began = time.monotonic()

    first = charged(at_stripe, slow, *others)

    assert time.monotonic() - began < 2.0
    assert {result.request.key for result in first} == {each.key for each in others}
    time.sleep(max(0.0, began + 2.8 - time.monotonic()))
    later = charged(at_stripe, request_of(at_stripe, "good"))
    assert (slow.key, Outcome.SUCCEEDED) in {(result.request.key, result.outcome) for result in later}


@pytest.mark.timed
def test_a_slow_provider_is_used_at_95_of_its_100_requests_a_second_and_never_over(at_stripe):
    at_stripe.server.tell("behave", latency_s=0.2, slow_s=2.0, limit_per_s=100)
    methods = ["pm_card_visa"] * 18 + ["pm_card_slow", "pm_card_chargeDeclined"]
    began = time.monotonic()

    for turn in range(6):
        for _ in at_stripe.provider.charge([request_of(at_stripe, methods[n % 20]) for n in range(50)], more=turn < 5):
            pass

    took_s = time.monotonic() - began
    while at_stripe.provider._calls._charges.missing:  # the slow ones are heard later, by whoever charges next
        list(at_stripe.provider.charge([]))
    state = at_stripe.server.state()
    steady = state["written_at"][20:]
    assert (state["refused"], state["fullest_second"] <= 100) == (0, True)
    assert (len(steady) - 1) / (steady[-1] - steady[0]) >= 95
    assert took_s < 5.0
    assert at_stripe.captures() == 288


def test_a_refund_in_part_leaves_the_rest(at_stripe):
    request = request_of(at_stripe, "good")
    charged(at_stripe, request)

    for key, amount in (("one", "2.50"), ("one", "2.50"), ("two", "4.00")):
        at_stripe.provider.refund(request, key, Decimal(amount))
    with pytest.raises(Invalid):
        at_stripe.provider.refund(request, "three", Decimal("6.01"))

    [booked] = at_stripe.provider.captured(now() - timedelta(minutes=1))
    assert booked.refunded == Decimal("6.50")


def test_calls_of_many_threads_charge_each_request_once(at_stripe):
    requests = [request_of(at_stripe, "good") for _ in range(30)]
    results, lock = [], threading.Lock()

    def ask():
        found = charged(at_stripe, *requests)
        with lock:
            results.extend(found)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert at_stripe.captures() == 30
    assert {result.outcome for result in results} <= {Outcome.SUCCEEDED, Outcome.PENDING}


def test_no_secret_is_shown_by_the_provider_or_its_errors(at_stripe, caplog):
    at_stripe.server.tell("behave", faults=[500, 429])
    results = charged(at_stripe, *(request_of(at_stripe, method) for method in ("good", "good", "pm_nobody_has_this")))

    shown = caplog.text + repr(results) + repr(at_stripe.provider) + str(vars(at_stripe.provider).keys())
    assert not any(secret in shown for secret in (stripe.SECRET, "sk_test_of_the_tests", "_secret_"))


def test_every_provider_reads_events_that_nobody_has_foreseen(scene):
    for number, data in enumerate(itertools.chain(({}, [], None, 1), ({"object": None}, {"object": []}))):
        try:
            event = scene.provider.read_event(*signed(scene, {"id": f"e{number}", "type": "x.y", "data": data}))
        except Invalid:
            continue
        assert event.outcome is None
