"""Parse a request for the express lane."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from flashsale.ratelimit.client_address import address
from flashsale.web.middleware.queue_wait import has_waited_too_long

Scope = Mapping[str, Any]
_JSON = (b"application/json", b"application/json; charset=utf-8")
_ACCEPTED = (b"*/*", b"application/json", b"application/json, */*", b"application/json, text/plain, */*")
_LONGEST_LENGTH = 9  # digits of a Content-Length


class Request(NamedTuple):
    """``scope``: an ASGI 3 scope. ``headers``: its headers, none repeated."""

    scope: Scope
    headers: Mapping[bytes, bytes]

    @property
    def is_post(self) -> bool:
        """Whether the method may change data."""
        return bool(self.scope["method"] == "POST")

    @property
    def address(self) -> str:
        """The client's address, as a rate-limit key."""
        return address((self.scope.get("client") or ("",))[0], self.headers.get(b"x-forwarded-for", b"").decode("latin-1"))

    @property
    def is_late(self) -> bool:
        """Whether the request has waited longer than its client does."""
        return has_waited_too_long(self.headers.get(b"x-request-start", b"").decode("latin-1"))

    @property
    def length(self) -> int:
        """Length of the body, in bytes."""
        return int(self.headers.get(b"content-length") or 0)


def common(scope: Scope) -> Request | None:
    """The request, or None if it needs Django."""
    sent = scope["headers"]
    headers = dict(sent)
    if len(headers) != len(sent) or scope["query_string"] or b"transfer-encoding" in headers:
        return None
    host = headers.get(b"host", b"")
    if not _is_ours(host) or headers.get(b"accept", b"*/*") not in _ACCEPTED or _is_foreign(headers.get(b"origin"), host):
        return None
    request = Request(scope, headers)
    return request if not request.is_post or _has_common_body(headers) else None


def _has_common_body(headers: Mapping[bytes, bytes]) -> bool:
    length = headers.get(b"content-length") or b"0"
    is_number = length.isdigit() and len(length) <= _LONGEST_LENGTH
    return headers.get(b"content-type") in _JSON and is_number and int(length) <= settings.MAX_BODY_BYTES


def _is_foreign(origin: bytes | None, host: bytes) -> bool:
    """Whether a page of another site sent it. Django handles CORS."""
    return origin is not None and origin.partition(b"://")[2] != host


@lru_cache(maxsize=64)
def _is_ours(host: bytes) -> bool:
    domain, _ = split_domain_port(host.decode("latin-1"))
    return bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)
