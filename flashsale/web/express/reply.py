"""The bytes of an answer, as Django and its middlewares would send them."""

import json
import logging
from collections.abc import Mapping
from http.client import responses
from typing import Any, NamedTuple

from django.conf import settings

from flashsale.core.errors import FlashsaleError
from flashsale.edge import error_handler
from flashsale.edge.answer_headers import OF_API
from flashsale.web.answer import Answer

logger = logging.getLogger(__name__)
_LINES = {status: f"{status} {reason}" for status, reason in responses.items()}


class Reply(NamedTuple):
    """What WSGI's ``start_response`` gets, and the body."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes


class Common(NamedTuple):
    """``allow``: the methods of the address. ``vary``: which of the request's headers the answer depends on."""

    allow: str
    vary: str


def success(answer: Answer, common: Common, limits: Mapping[str, str]) -> Reply:
    """What the call answers."""
    return _reply(answer.status, "application/json", answer.values, {**answer.headers, **limits}, common)


def refusal(error: FlashsaleError, common: Common, limits: Mapping[str, str]) -> Reply:
    """An error of ours, as problem+json."""
    response = error_handler.problem_of(error)
    return _reply(response.status, error_handler.CONTENT_TYPE, response.values, {**limits, **response.headers}, common)


def failure(error: Exception, common: Common, limits: Mapping[str, str]) -> Reply:
    """503 for a part that is away; for a fault of ours, which is logged, 500 as Django answers it."""
    known = error_handler.as_ours(error)
    if known is not None:
        return refusal(known, common, limits)
    logger.exception("express lane failed", extra={"event": "express_lane_failed", "error": repr(error)})
    answer = error_handler.internal_error()
    return _reply(answer.status, error_handler.CONTENT_TYPE, answer.values, limits, common)


def _reply(status: int, content_type: str, values: Any, headers: Mapping[str, str], common: Common) -> Reply:
    body = json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()
    if "Cache-Control" not in headers:
        headers = {"Cache-Control": "no-store", **headers}
    sent = [
        ("Content-Type", content_type),
        ("Content-Length", str(len(body))),
        ("Allow", common.allow),
        ("Vary", common.vary),
        ("X-Fleet", settings.FLEET),
        *OF_API,
        *headers.items(),
    ]
    return Reply(_LINES[status], sent, body)
