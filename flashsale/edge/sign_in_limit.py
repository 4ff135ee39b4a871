"""The sign-in pages of shop and staff pass the same limits as the API's sign-in: a password is not guessed faster there."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from flashsale.ratelimit.client_address import address_of
from flashsale.ratelimit.headers import retry_after
from flashsale.ratelimit.in_process import limiter, rules_at

_PAGES = frozenset({"/login/", "/admin/login/"})


class SignInLimit:
    """Middleware: 429 for a password sent over the limit of ``api:auth-token``."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.method != "POST" or request.path not in _PAGES:
            return self._get_response(request)
        counted = {"address": address_of(request.META), "all": "all"}
        asked = [(rule, counted[rule.key]) for rule in rules_at("api", "api:auth-token") if rule.key in counted]
        decision = limiter().check(asked, mode="now")
        if decision.allowed:
            return self._get_response(request)
        wait_s = decision.retry_after_s or decision.wait_s
        text = "Too many attempts; please try again in a moment."
        return HttpResponse(text, status=429, headers={"Retry-After": retry_after(wait_s)}, content_type="text/plain")
