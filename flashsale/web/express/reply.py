"""Build the same responses as Django and its middleware, as bytes."""

import json
import logging
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

from django.conf import settings

from flashsale.core.errors import FlashsaleError
from flashsale.web import problem
from flashsale.web.answer import Answer
from flashsale.web.middleware.answer_headers import OF_API, OF_DATA

logger = logging.getLogger(__name__)
_ENCODER_OF_DJANGO = json.JSONEncoder()
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class Reply(NamedTuple):
    """``headers``: in ASGI's format."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Common(NamedTuple):
    """``allow``: the methods of the URL. ``vary``: the request headers on which the response depends."""

    allow: str
    vary: str


def success(answer: Answer, common: Common, limits: Mapping[str, str]) -> Reply:
    """The response of a successful call."""
    return _reply(answer.status, "application/json", answer.values, {**answer.headers, **limits}, common)


def refusal(error: FlashsaleError, common: Common, limits: Mapping[str, str]) -> Reply:
    """The response to one of our errors, as problem+json."""
    response = problem.problem_of(error)
    return _reply(response.status, problem.CONTENT_TYPE, response.values, {**limits, **response.headers}, common)


def failure(error: Exception, common: Common, limits: Mapping[str, str]) -> Reply:
    """503 if a server is unavailable. Otherwise log the error and answer 500 as Django does."""
    known = problem.as_ours(error)
    if known is not None:
        return refusal(known, common, limits)
    logger.exception("express lane failed", extra={"event": "express_lane_failed", "error": repr(error)})
    answer = problem.internal_error()
    return _reply(answer.status, problem.CONTENT_TYPE, answer.values, limits, common)


def late(answer: Answer) -> Reply:
    """An early refusal, with the headers of Django's outer middleware only."""
    body = _ENCODER_OF_DJANGO.encode(answer.values).encode()
    named = {
        "Content-Type": problem.CONTENT_TYPE,
        "Content-Length": str(len(body)),
        "Content-Security-Policy": OF_DATA,
        "Cache-Control": "no-store",
        "Vary": "origin",
        "X-Fleet": settings.FLEET,
        **answer.headers,
    }
    return Reply(answer.status, _encoded(named.items()), body)


def _reply(status: int, content_type: str, values: Any, headers: Mapping[str, str], common: Common) -> Reply:
    body = _ENCODER.encode(values).encode()
    if "Cache-Control" not in headers:
        headers = {"Cache-Control": "no-store", **headers}
    sent = [
        *_shared(content_type, common),
        (b"content-length", b"%d" % len(body)),
        *_encoded(headers.items()),
    ]
    return Reply(status, sent, body)


@cache
def _shared(content_type: str, common: Common) -> tuple[tuple[bytes, bytes], ...]:
    """The headers that all these responses have."""
    named = (
        ("content-type", content_type),
        ("allow", common.allow),
        ("vary", common.vary),
        ("x-fleet", settings.FLEET),
        *OF_API,
    )
    return tuple(_encoded(named))


def _encoded(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Headers in ASGI's format."""
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
