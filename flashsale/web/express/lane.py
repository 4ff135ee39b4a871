"""Which requests are taken, and how they are answered."""

import io
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.db import close_old_connections, connection
from django.http.request import split_domain_port, validate_host

from flashsale.core.database.patience import patience
from flashsale.core.errors import FlashsaleError
from flashsale.edge.queue_wait import has_waited_too_long
from flashsale.web.express import calls, reply
from flashsale.web.express.credentials import customer_of

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]
_JSON = ("application/json", "application/json; charset=utf-8")
_LONGEST_LENGTH = 9  # digits of a Content-Length
_ACCEPTED = ("*/*", "application/json", "application/json, */*", "application/json, text/plain, */*")


class ExpressLane:
    """WSGI middleware in front of Django."""

    def __init__(self, django: Application) -> None:
        self._django = django

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer the request, or let Django do it."""
        call = calls.find(environ["REQUEST_METHOD"], environ.get("PATH_INFO", ""))
        if call is None or not _is_common(environ):
            return self._django(environ, start_response)
        body = _body(environ)
        customer = customer_of(environ)
        prepared = None if customer is None else call.prepare(body)
        if customer is None or prepared is None:
            return self._django(environ, start_response)
        answer = _answered(call, customer, prepared, environ)
        start_response(answer.line, answer.headers)
        return [answer.body]


def _is_common(environ: dict[str, Any]) -> bool:
    """Whether nothing about the request needs what only Django knows."""
    if environ.get("QUERY_STRING") or environ.get("HTTP_TRANSFER_ENCODING") or not _is_ours(environ.get("HTTP_HOST", "")):
        return False
    if environ.get("HTTP_ACCEPT", "*/*") not in _ACCEPTED or has_waited_too_long(environ) or _is_foreign(environ):
        return False
    if environ["REQUEST_METHOD"] == "GET":
        return True
    length = environ.get("CONTENT_LENGTH") or "0"
    is_number = length.isascii() and length.isdigit() and len(length) <= _LONGEST_LENGTH
    return environ.get("CONTENT_TYPE", "") in _JSON and is_number and int(length) <= settings.MAX_BODY_BYTES


def _is_foreign(environ: dict[str, Any]) -> bool:
    """A request of another site's page: Django decides about CORS."""
    origin = environ.get("HTTP_ORIGIN")
    return origin is not None and origin.partition("://")[2] != environ.get("HTTP_HOST")


@lru_cache(maxsize=64)
def _is_ours(host: str) -> bool:
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)


def _body(environ: dict[str, Any]) -> bytes:
    """The body, which stays there to be read by Django."""
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if not length:
        return b""
    body: bytes = environ["wsgi.input"].read(length)
    environ["wsgi.input"] = io.BytesIO(body)
    return body


def _answered(call: calls.Call, customer: int, prepared: Any, environ: dict[str, Any]) -> reply.Reply:
    limits: dict[str, str] = {}
    common = reply.Common(call.allow, "origin" if "HTTP_AUTHORIZATION" in environ else "Cookie, origin")
    try:
        with patience(settings.DATABASE_REQUEST_PATIENCE_S):
            limits = calls.pass_limits(call, customer, environ)
            found = call.act(customer, prepared)
        return reply.success(found, common, limits)
    except FlashsaleError as error:
        return reply.refusal(error, common, limits)
    except Exception as error:
        return reply.failure(error, common, limits)
    finally:
        if connection.connection is not None:
            close_old_connections()
