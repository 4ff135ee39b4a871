"""The sign-in pages of shop and staff pass the same limits as the API's sign-in: a password is not guessed faster there."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from flashsale.accounts.errors import SignInBusy
from flashsale.ratelimit.account_name import account_key
from flashsale.ratelimit.client_address import address_of
from flashsale.ratelimit.headers import retry_after
from flashsale.ratelimit.in_process import limiter, rules_at

_PAGES = frozenset({"/login/", "/admin/login/"})


class SignInLimit:
    """Middleware: 429 for a password sent over the limits of ``api:auth-token``, 503 when too many are checked already.

    Both are decided before a password is looked at.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.method != "POST" or request.path not in _PAGES:
            return self._get_response(request)
        known = {"address": address_of(request.META), "all": "all", "account": account_key(request.POST.get("username"))}
        rules = [(rule, known.get(rule.key)) for rule in rules_at("api", "api:auth-token")]
        decision = limiter().check([(rule, value) for rule, value in rules if value is not None], mode="now")
        if decision.allowed:
            return self._get_response(request)
        wait_s = decision.retry_after_s or decision.wait_s
        return _refusal(429, "Too many attempts; please try again in a moment.", wait_s)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """The pages' form of what the API says as a problem."""
        if not isinstance(exception, SignInBusy):
            return None
        return _refusal(503, exception.detail, exception.retry_after or 0)


def _refusal(status: int, text: str, wait_s: float) -> HttpResponse:
    return HttpResponse(text, status=status, headers={"Retry-After": retry_after(wait_s)}, content_type="text/plain")
