"""Rate limits of password checks in the API, the storefront and the admin."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from flashsale.accounts.errors import AccountEnded, SignInBusy
from flashsale.accounts.hashing import RETRY_AFTER_S, seats
from flashsale.core.errors import RateLimited
from flashsale.ratelimit.account_name import account_key
from flashsale.ratelimit.client_address import address_of
from flashsale.ratelimit.headers import headers, retry_after
from flashsale.ratelimit.in_process import limiter, rules_at
from flashsale.ratelimit.limiter import Decision
from flashsale.ratelimit.rule import Rule
from flashsale.web.problem import problem

_PAGES = frozenset({"/login/", "/admin/login/"})
_API = "/api/v1/auth/token/"


class SignInLimit:
    """Middleware: 429 for a sign-in over the limits of ``api:auth-token``, 503 if too many passwords are being checked.

    A request that will be refused is refused here, before its body is read, so that floods of sign-ins stay cheap. The rules of
    the API's sign-in are checked by its throttle.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.method != "POST" or (request.path != _API and request.path not in _PAGES):
            return self._get_response(request)
        known = {"address": address_of(request.META), "all": "all"}
        refused = limiter().refused_already(_asked(known))
        if refused:
            return _limited(request, refused)
        if seats.is_full:
            return _refusal(request, 503, SignInBusy.code, SignInBusy().detail, RETRY_AFTER_S)
        if request.path in _PAGES:
            account = account_key(request.POST.get("username"))
            decision = limiter().check(_asked(known | ({"account": account} if account else {})), mode="now")
            if not decision.allowed:
                return _limited(request, decision)
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Show the error as a page where the API would answer with a problem document."""
        if isinstance(exception, AccountEnded):  # blocked while the password was checked
            return HttpResponse(exception.detail, status=403, content_type="text/plain")
        if not isinstance(exception, SignInBusy):
            return None
        return _refusal(request, 503, exception.code, exception.detail, exception.retry_after or RETRY_AFTER_S)


def _asked(known: dict[str, str]) -> list[tuple[Rule, str]]:
    return [(rule, known[rule.key]) for rule in rules_at("api", "api:auth-token") if rule.key in known]


def _limited(request: HttpRequest, decision: Decision) -> HttpResponse:
    text = RateLimited("Too many attempts. Try again in a moment.")
    answer = _refusal(request, 429, text.code, text.detail, decision.retry_after_s or decision.wait_s)
    for name, value in headers(decision).items():
        answer.headers[name] = value
    return answer


def _refusal(request: HttpRequest, status: int, code: str, text: str, wait_s: float) -> HttpResponse:
    if request.path == _API:
        answer: HttpResponse = problem(status, code, text)
    else:
        answer = HttpResponse(text, status=status, content_type="text/plain")
    answer.headers["Retry-After"] = retry_after(wait_s)
    return answer
