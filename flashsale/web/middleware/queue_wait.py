"""Refuse requests that were queued too long, so that an overloaded shop still serves the newer ones."""

import time
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse

from flashsale.core.metrics import REQUESTS_LATE
from flashsale.web.answer import Answer
from flashsale.web.problem import CONTENT_TYPE, body
from inventory.errors import Busy

_LONGEST_S = 60.0  # longer than any gateway timeout, so a clock must be wrong


class QueueWait:
    """Middleware: 503 ``busy`` for requests queued longer than ``REQUEST_WAIT_S`` since the gateway received them.

    Their clients have given up or are about to, and processing them would delay the requests behind them. A refused request has
    had no effect, and refusing costs a tenth of the work.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if has_waited_too_long(request.META.get("HTTP_X_REQUEST_START", "")):
            answer = refusal()
            return JsonResponse(answer.values, status=answer.status, content_type=CONTENT_TYPE, headers=dict(answer.headers))
        return self._get_response(request)


def refusal() -> Answer:
    """Count a request that waited too long, and return its answer."""
    REQUESTS_LATE.inc()
    values = body(503, Busy.code, "Too many requests are waiting. Try again in a moment.")
    return Answer(values, 503, {"Retry-After": "1"})


def has_waited_too_long(request_start: str) -> bool:
    """Whether a request waited longer than its client does.

    Args:
        request_start: its ``X-Request-Start`` header; empty for none.
    """
    since = _start(request_start)
    return bool(since) and 0 < settings.REQUEST_WAIT_S < time.time() - since < _LONGEST_S


def later(request_start: bytes, seconds: float) -> bytes:
    """Move the time in an ``X-Request-Start`` header forward by the seconds that the client took to send the body."""
    since = _start(request_start.decode("latin-1"))
    return b"t=%.6f" % (since + seconds) if since else request_start


def _start(header: str) -> float:
    """Time at which the gateway received the request, in seconds since 1970; 0 if unknown."""
    try:
        return float(header.removeprefix("t="))
    except ValueError:
        return 0.0
