"""Stripe, through its SDK: one PaymentIntent for each payment.

A Stripe payment method (``pm_...``) is charged at once. If 3-D Secure is required, the customer completes it. The method
``card`` makes an intent that the customer confirms in the page, with Stripe's script and the client secret.
"""

import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

import stripe
from django.conf import settings

from flashsale.core.clock import now
from flashsale.core.errors import Invalid
from payments.providers import signature
from payments.providers.base import (
    Action,
    Booked,
    ChargeRequest,
    ChargeResult,
    Event,
    NoSuchCharge,
    Outcome,
    ProviderUnavailable,
)
from payments.providers.calls import Calls

logger = logging.getLogger(__name__)
logging.getLogger("stripe").setLevel(logging.WARNING)  # the SDK logs every request
T = TypeVar("T")
API_VERSION = "2026-10-28.endive"
_TEST_METHODS = (
    ("pm_card_visa", "Pay now: accepted test card"),
    ("pm_card_threeDSecure2Required", "Pay now: test card with 3-D Secure"),
    ("pm_card_chargeDeclined", "Pay now: declined test card"),
)
_METHOD = re.compile(r"pm_[A-Za-z0-9_]+", re.ASCII)
_CONFIRMED_BY_CUSTOMER = "card"
_TIMEOUT_S = (3.0, 10.0)  # connect, read
_CALLS_PER_SECOND = 100
_CALLS_AT_ONCE = 64
_KEYS_LIVE = timedelta(hours=23)  # Stripe forgets an idempotency key after 24 hours
_ABANDONED = timedelta(hours=24)  # an intent that the customer has not confirmed by then is cancelled
# https://docs.stripe.com/currencies. Stripe's decimals differ from ISO 4217 for some currencies.
_ZERO_DECIMAL = frozenset(("BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA"))
_ZERO_DECIMAL |= {"PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"}
_THREE_DECIMAL = frozenset(("BHD", "JOD", "KWD", "OMR", "TND"))
_STATUS = {
    "succeeded": Outcome.SUCCEEDED,
    "canceled": Outcome.DECLINED,
    "processing": Outcome.PENDING,
    "requires_action": Outcome.ACTION,
    "requires_confirmation": Outcome.ACTION,
}
_TOLD = {
    "payment_intent.succeeded": Outcome.SUCCEEDED,
    "payment_intent.payment_failed": Outcome.DECLINED,
    "payment_intent.canceled": Outcome.DECLINED,
}
# Codes that customers may see. Stripe asks not to show the others, for example a stolen card.
_CODES = frozenset(
    {"insufficient_funds", "expired_card", "incorrect_cvc", "incorrect_number", "authentication_required", "processing_error"}
)


def _decimals(currency: str) -> int:
    return 0 if currency in _ZERO_DECIMAL else 3 if currency in _THREE_DECIMAL else 2


def to_minor(amount: Decimal, currency: str) -> int:
    """The amount in Stripe's minor units.

    Raises:
        Invalid: the amount has too many decimals.
    """
    units = amount.scaleb(_decimals(currency))
    if units != units.to_integral_value():
        raise Invalid(f"Stripe cannot charge {amount} {currency}: too many decimals.")
    return int(units)


def from_minor(units: int, currency: str) -> Decimal:
    """The amount of Stripe's minor units."""
    return Decimal(units).scaleb(-_decimals(currency.upper()))


class Stripe:
    """Options: ``API_KEY``, ``WEBHOOK_SECRET`` (several separated by commas), ``API_BASE``."""

    signature_header = "Stripe-Signature"
    books_sql = ""

    def __init__(self, options: Mapping[str, str]) -> None:
        self.test_methods: Sequence[tuple[str, str]] = ()
        if options.get("API_KEY", "").startswith("sk_test_"):
            self.test_methods = _TEST_METHODS
        self._secrets = options.get("WEBHOOK_SECRET", "")
        self._calls = Calls("stripe", per_second=_CALLS_PER_SECOND, at_once=_CALLS_AT_ONCE)
        self._api = stripe.StripeClient(
            options.get("API_KEY") or "sk_none",
            stripe_version=API_VERSION,
            base_addresses={"api": options["API_BASE"].rstrip("/")} if options.get("API_BASE") else {},
            http_client=stripe.RequestsClient(timeout=_TIMEOUT_S),
            max_network_retries=0,  # the sweeps retry with the same keys
        ).v1

    def takes(self, method: str) -> bool:
        """``pm_...`` or ``card``."""
        return method == _CONFIRMED_BY_CUSTOMER or _METHOD.fullmatch(method) is not None

    # charges

    def charge(self, requests: Sequence[ChargeRequest], *, more: bool = False) -> Iterable[list[ChargeResult]]:
        """Create an intent for each request. A request with a known intent is looked up instead."""
        return self._calls.charge(self._charge, requests, more=more)

    def per_second(self) -> float:
        """The rate of the rule in the admin, or Stripe's own limit."""
        return self._calls.per_second

    def _charge(self, request: ChargeRequest) -> ChargeResult:
        try:
            intent = self._intent(request)
        except (stripe.CardError, stripe.InvalidRequestError, Invalid) as error:
            return _declined(request, error)
        except _Unheard as error:
            return ChargeResult(request, error.outcome, retry_after_s=1.0)
        return _result(request, intent)

    def _intent(self, request: ChargeRequest) -> stripe.PaymentIntent:
        age = now() - request.opened_at
        if request.ref:
            intent = self._heard(lambda: self._api.payment_intents.retrieve(request.ref))
        elif age > _KEYS_LIVE and (found := self._search(request.key)):
            intent = found
        else:
            options: Any = {"idempotency_key": request.key}
            intent = self._heard(lambda: self._api.payment_intents.create(_params(request), options))
            response = intent.last_response
            if intent.status != "succeeded" and response and response.headers.get("idempotent-replayed") == "true":
                intent = self._heard(
                    lambda: self._api.payment_intents.retrieve(intent.id)
                )  # the present state, not the replayed one
        if age > _ABANDONED and _outcome(intent) is Outcome.ACTION:
            intent = self._heard(lambda: self._api.payment_intents.cancel(intent.id))
        return intent

    def look_up(self, requests: Sequence[ChargeRequest]) -> list[ChargeResult]:
        """Look up by Stripe's id, or by the key in the metadata. Charges that Stripe does not have are left out."""
        return [result for result in self._calls.look_up(self._look_up, requests) if result.ref]

    def _look_up(self, request: ChargeRequest) -> ChargeResult:
        try:
            intent = self._find(request)
        except _Unheard as error:
            return ChargeResult(request, error.outcome)
        return _result(request, intent) if intent else ChargeResult(request, Outcome.PENDING)

    def _find(self, request: ChargeRequest) -> stripe.PaymentIntent | None:
        if not request.ref:
            return self._search(request.key)
        try:
            return self._heard(lambda: self._api.payment_intents.retrieve(request.ref))
        except stripe.InvalidRequestError:
            return None

    def _search(self, key: str) -> stripe.PaymentIntent | None:
        query: Any = {"query": f"metadata['payment']:'{key}'", "limit": 1}
        found = self._heard(lambda: self._api.payment_intents.search(query)).data
        return found[0] if found else None

    def action(self, charge: ChargeRequest) -> Action | None:
        """
        Raises:
            ProviderUnavailable: Stripe did not answer.
        """
        intent = self._calls.one(lambda: self._known(lambda: self._find(charge)))
        if intent is None or _outcome(intent) is not Outcome.ACTION:
            return None
        told = intent.to_dict()
        redirect = (told.get("next_action") or {}).get("redirect_to_url") or {}
        return Action(redirect.get("url") or "", told.get("client_secret") or "")

    # refunds

    def refund(self, charge: ChargeRequest, refund_key: str, amount: Decimal) -> str:
        """
        Raises:
            NoSuchCharge: there is no such captured charge.
            ProviderUnavailable: Stripe did not answer. Try again later.
            Invalid: Stripe refused the refund.
        """
        return self._calls.one(lambda: self._known(lambda: self._refund(charge, refund_key, amount)))

    def _refund(self, charge: ChargeRequest, refund_key: str, amount: Decimal) -> str:
        intent = self._find(charge)
        if intent is None or intent.status != "succeeded":
            raise NoSuchCharge
        made = self._heard(lambda: self._api.refunds.list({"payment_intent": intent.id, "limit": 100})).data
        for refund in made:  # Stripe may have forgotten its key
            if _noted(refund, "refund") == refund_key and refund.status not in ("failed", "canceled"):
                return refund.id
        params: Any = {"payment_intent": intent.id, "amount": to_minor(amount, charge.currency)}
        params["metadata"] = {"refund": refund_key, "order_id": str(charge.order_id)}
        try:
            refund = self._heard(lambda: self._api.refunds.create(params, {"idempotency_key": refund_key}))
        except stripe.InvalidRequestError as error:
            if error.code == "charge_already_refunded" and made:  # for example in Stripe's dashboard
                return made[0].id
            raise Invalid(f"Stripe refused the refund: {error.code or 'invalid_request'}") from error
        if refund.status in ("failed", "canceled"):
            raise Invalid(f"Stripe says that the refund is {refund.status}.")
        return refund.id

    # webhooks and books

    def read_event(self, body: bytes, headers: Mapping[str, str]) -> Event:
        """
        Raises:
            SignatureInvalid: the signature is wrong or too old.
            Invalid: the body is not a valid event.
        """
        header = headers.get(self.signature_header, "")
        signature.check(body, header, secrets=self._secrets, tolerance_s=settings.WEBHOOK_TOLERANCE_S)
        try:
            event = json.loads(body)
            event_id, kind, about = event["id"], event["type"], event["data"]["object"]
            key, ref = (about.get("metadata") or {}).get("payment", ""), about.get("id", "")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise Invalid("The body is not a valid event.") from error
        if not all(isinstance(value, str) and len(value) <= 64 and value.isprintable() for value in (event_id, kind)):
            raise Invalid("The body is not a valid event.")
        if not (event_id and kind):
            raise Invalid("The body is not a valid event.")
        is_ours = all(isinstance(value, str) and 0 < len(value) <= 64 and value.isprintable() for value in (key, ref))
        return Event(event_id, kind, _TOLD.get(kind), key, ref) if is_ours else Event(event_id, kind)

    def hear(self, told: Sequence[tuple[ChargeRequest, Outcome]]) -> None:
        """Does nothing. Stripe keeps its own books."""

    def captured(self, since: datetime) -> Iterator[Booked]:
        """Newest first.

        Raises:
            ProviderUnavailable: Stripe did not answer.
        """
        params: Any = {"created": {"gte": int(since.timestamp())}, "limit": 100, "expand": ["data.latest_charge"]}
        while True:
            page = self._calls.one(lambda: self._known(lambda: self._heard(lambda: self._api.payment_intents.list(params))))
            yield from (_booked(intent) for intent in page.data if intent.status == "succeeded")
            if not page.has_more or not page.data:
                return
            params["starting_after"] = page.data[-1].id

    # calls

    def _heard(self, call: Callable[[], T]) -> T:
        """Make a call to Stripe and report it to the circuit breaker.

        Raises:
            _Unheard: there is no answer about the charge.
            stripe.CardError, stripe.InvalidRequestError: a refusal.
        """
        began = time.monotonic()
        try:
            answer = call()
        except (stripe.CardError, stripe.InvalidRequestError):
            self._calls.breaker.succeeded(time.monotonic() - began)
            raise
        except stripe.RateLimitError as error:
            self._calls.breaker.succeeded(time.monotonic() - began)
            raise _Unheard(Outcome.POSTPONED) from error
        except stripe.StripeError as error:
            raise self._unheard(error) from error
        self._calls.breaker.succeeded(time.monotonic() - began)
        return answer

    def _unheard(self, error: stripe.StripeError) -> "_Unheard":
        told = {"event": "stripe_error", "error": type(error).__name__, "status": error.http_status, "code": error.code}
        if error.http_status == 409:  # a request with this key is in progress
            self._calls.breaker.succeeded()
            return _Unheard(Outcome.PENDING)
        self._calls.breaker.failed()
        if isinstance(error, stripe.AuthenticationError | stripe.PermissionError | stripe.IdempotencyError):
            logger.error("Stripe refuses our requests", extra=told)
            return _Unheard(Outcome.UNAVAILABLE)
        logger.warning("no answer from Stripe", extra=told)
        return _Unheard(Outcome.UNKNOWN)

    def _known(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except _Unheard as error:
            raise ProviderUnavailable(retry_after=1.0) from error


class _Unheard(Exception):
    """Stripe has not answered about the charge."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


def _params(request: ChargeRequest) -> Any:
    params: dict[str, Any] = {
        "amount": to_minor(request.amount, request.currency),
        "currency": request.currency.lower(),
        "metadata": {"order_id": str(request.order_id), "payment": request.key},
    }
    if request.method == _CONFIRMED_BY_CUSTOMER:
        return params | {"payment_method_types": ["card"]}
    return params | {
        "payment_method": request.method,
        "confirm": True,
        "automatic_payment_methods": {"enabled": True},
        "return_url": f"{settings.WEB_URL}/orders/{request.order_id}/",
    }


def _outcome(intent: stripe.PaymentIntent) -> Outcome:
    if intent.status == "requires_payment_method":
        return Outcome.DECLINED if intent.to_dict().get("last_payment_error") else Outcome.ACTION
    return _STATUS.get(intent.status, Outcome.PENDING)


def _result(request: ChargeRequest, intent: stripe.PaymentIntent) -> ChargeResult:
    error = intent.to_dict().get("last_payment_error") or {}
    code = _code(error.get("decline_code"), error.get("code"))
    return ChargeResult(request, _outcome(intent), intent.id, code)


def _declined(request: ChargeRequest, error: Exception) -> ChargeResult:
    if not isinstance(error, stripe.CardError):
        code = error.code if isinstance(error, stripe.InvalidRequestError) else "amount"
        logger.warning("charge refused", extra={"event": "charge_refused", "payment": request.key, "code": code})
        return ChargeResult(request, Outcome.DECLINED, code="not_accepted")
    body = error.json_body.get("error", {}) if isinstance(error.json_body, dict) else {}
    ref = (body.get("payment_intent") or {}).get("id", "")
    return ChargeResult(request, Outcome.DECLINED, ref, _code(body.get("decline_code"), error.code))


def _code(*codes: str | None) -> str:
    return next((code for code in codes if code in _CODES), "")


def _noted(about: stripe.StripeObject, name: str) -> str:
    """A value of the object's metadata."""
    return str((about.to_dict().get("metadata") or {}).get(name, ""))


def _booked(intent: stripe.PaymentIntent) -> Booked:
    charge: Any = intent.latest_charge
    refunded = charge.amount_refunded if isinstance(charge, stripe.Charge) else 0
    currency = intent.currency.upper()
    return Booked(
        key=_noted(intent, "payment"),
        ref=intent.id,
        amount=from_minor(intent.amount_received, currency),
        refunded=from_minor(refunded, currency),
        currency=currency,
        at=datetime.fromtimestamp(intent.created, UTC),
    )


Service = Stripe
