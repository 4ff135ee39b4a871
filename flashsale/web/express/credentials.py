"""Authenticate a request by access token or session, as the views do. Results are cached in the process.

Every request checks for revocations, so they take effect at once. The check takes two look-ups in this process's memory.
"""

import io
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse
from django.http.cookie import parse_cookie
from rest_framework.authentication import CSRFCheck
from rest_framework.exceptions import APIException

from flashsale.accounts import sessions, tokens
from flashsale.accounts.denials import denials
from flashsale.web.authentication import AccessTokens
from flashsale.web.express import own_tokens
from flashsale.web.express.request import Request

_MOST = 20_000  # cached per process, about 20 MB
_LONGEST = 4_096
_BEARER = b"Bearer "
K = TypeVar("K")
T = TypeVar("T")
_tokens = AccessTokens()


class Remembered(Generic[K, T]):
    """A cache of a function's last results by argument. None is not cached. Thread-safe: the function may be called twice."""

    def __init__(self, function: Callable[[K], T | None], most: int) -> None:
        self._function = function
        self._most = most
        self._found: OrderedDict[K, T] = OrderedDict()

    def __call__(self, argument: K) -> T | None:
        """The function's result."""
        known = self._found.get(argument)
        if known is not None:
            return known
        found = self._function(argument)
        if found is not None:
            self._found[argument] = found
            while len(self._found) > self._most:
                try:
                    self._found.popitem(last=False)
                except KeyError:  # another thread has made room
                    break
        return found


class _Token(NamedTuple):
    customer: int
    expires: float
    issued_us: int
    family: str


def _verified(raw: bytes) -> _Token | None:
    try:
        token = own_tokens.claims(raw) or _tokens.get_validated_token(raw)
        number = str(token["user_id"])
        if not number.isdecimal():
            return None
        return _Token(int(number), float(token["exp"]), tokens.issued_us(token), str(token.get(tokens.FAMILY, "")))
    except (APIException, KeyError, ValueError, OverflowError):
        return None


def _opened(cookie: str) -> dict[str, Any] | None:
    found = dict(sessions.SessionStore(cookie).items())
    return found if SESSION_KEY in found else None


_verified_tokens = Remembered(_verified, _MOST)
_opened_sessions = Remembered(_opened, _MOST)


def customer_of(request: Request) -> int | None:
    """The customer's id. None if nobody is signed in, or if Django must report an error in the credentials."""
    header = request.headers.get(b"authorization")
    if header is not None:
        return _of_token(header[len(_BEARER) :]) if header.startswith(_BEARER) and len(header) < _LONGEST else None
    cookies = request.headers.get(b"cookie", b"")
    return _of_session(cookies.decode("latin-1"), request) if cookies and len(cookies) < 2 * _LONGEST else None


def _of_token(raw: bytes) -> int | None:
    token = _verified_tokens(raw)
    if token is None or token.expires <= time.time() or denials().refuses(token.customer, token.issued_us, token.family):
        return None
    return token.customer


def _of_session(header: str, request: Request) -> int | None:
    cookie = parse_cookie(header).get(settings.SESSION_COOKIE_NAME)
    found = _opened_sessions(cookie) if cookie else None
    if found is None or not sessions.is_good(found):
        return None
    if request.is_post and not _has_csrf_token(request):
        return None
    return int(found[SESSION_KEY])


def _has_csrf_token(request: Request) -> bool:
    asked, check = ASGIRequest(dict(request.scope), io.BytesIO()), CSRFCheck(lambda _: HttpResponse())
    check.process_request(asked)
    return check.process_view(asked, lambda _: HttpResponse(), (), {}) is None
