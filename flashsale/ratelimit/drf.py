"""The DRF throttle: every rule that applies to an endpoint, in one round trip."""

import threading
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from django.conf import settings
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from flashsale.core.errors import RateLimited
from flashsale.core.steps import Pause, Steps, run
from flashsale.ratelimit.account_name import account_key
from flashsale.ratelimit.client_address import address_of
from flashsale.ratelimit.headers import headers
from flashsale.ratelimit.in_process import deciding, rules_at
from flashsale.ratelimit.rule import Rule

# Endpoint -> queue to which its requests send messages.
_PRODUCES = {"order-pay": "produce:payments", "order-cancel": "produce:cancellations"}
_waiters = threading.BoundedSemaphore(settings.RATELIMIT_WAITERS)


def pass_rules(endpoint: str, value_of: Callable[[Rule], str | None]) -> Steps[dict[str, str]]:
    """Check all rules of an endpoint in one round trip and return the headers. Waits if a ``queue`` rule says so.

    Args:
        endpoint: name of the URL pattern.
        value_of: returns the value that a rule counts, or None if the rule does not apply.

    Raises:
        RateLimited: a limit is exceeded. It carries the headers.
    """
    asked = [(rule, value) for rule in rules_at(*_places(endpoint)) if (value := value_of(rule)) is not None]
    may_queue = any(rule.on_limit == "queue" for rule, _ in asked)
    has_seat = may_queue and _waiters.acquire(blocking=False)
    try:
        # Without a free seat to wait in, do not reserve a future slot.
        decision = yield from deciding(asked, mode="now" if may_queue and not has_seat else "take")
        said = headers(decision)
        if not decision.allowed:
            raise RateLimited(retry_after=decision.retry_after_s or decision.wait_s, headers=said)
        if decision.wait_s > 0:
            yield Pause(decision.wait_s)
    finally:
        if has_seat:
            _waiters.release()
    return said


@cache
def _places(endpoint: str) -> tuple[str, ...]:
    produced = _PRODUCES.get(endpoint)
    return ("api", f"api:{endpoint}") if produced is None else ("api", f"api:{endpoint}", produced)


def value_of_customer(rule: Rule, address: str, customer: str | None, names: Mapping[str, Any]) -> str | None:
    """The value that a rule counts for a request.

    Args:
        address: the client address as a key.
        customer: None if the request is not authenticated.
        names: the parameters of the URL.
    """
    if rule.key == "all":
        return "all"
    if rule.key == "address":
        return address
    if rule.key == "customer":
        return customer
    return f"{names['slug']}/{names['sku']}" if rule.key == "item" and "sku" in names else None


class RuleThrottle(BaseThrottle):
    """Raises :class:`RateLimited` over a limit. Under a ``queue`` rule up to two requests at a time wait here."""

    def allow_request(self, request: Request, view: Any) -> bool:
        """Return True or raise: a raised refusal carries its headers."""
        match = request.resolver_match
        try:
            said = run(pass_rules((match.url_name if match else "") or "", lambda rule: self._value(rule, request, view)))
        except RateLimited as refusal:
            request._request.limit_headers = refusal.headers  # type: ignore[attr-defined]
            raise
        request._request.limit_headers = said  # type: ignore[attr-defined]
        return True

    def refuse_anonymous(self, request: Request, view: Any) -> None:
        """Check a request that authentication refused before the throttle ran.

        Raises:
            RateLimited: a limit is exceeded.
        """
        if not hasattr(request._request, "limit_headers"):
            self.allow_request(request, view)

    @staticmethod
    def _value(rule: Rule, request: Request, view: Any) -> str | None:
        if rule.key == "account":
            return account_key(_name_sent(request))
        customer = str(request.user.pk) if request.user and request.user.is_authenticated else None
        return value_of_customer(rule, address_of(request.META), customer, view.kwargs)


def _name_sent(request: Request) -> object:
    """The account name in a sign-in request, or None. The view reports errors of the body."""
    try:
        body = request.data
    except APIException:
        return None
    return body.get("username") if isinstance(body, Mapping) else None
