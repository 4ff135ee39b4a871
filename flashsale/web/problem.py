"""Map error codes to HTTP statuses, and build problem documents (RFC 9457)."""

import logging
import math
import sys
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils.html import escape
from rest_framework import exceptions
from rest_framework.response import Response

from flashsale.core.database.sqlstate import sqlstate
from flashsale.core.errors import FlashsaleError, Invalid, RateLimited, Unavailable
from flashsale.ratelimit.drf import RuleThrottle
from flashsale.ratelimit.headers import retry_after
from flashsale.web.answer import Answer

logger = logging.getLogger(__name__)
CONTENT_TYPE = "application/problem+json"
_STATUS = {
    "invalid": 400,
    "signature_invalid": 400,
    "token_invalid": 403,
    "not_found": 404,
    "ticket_lapsed": 404,
    "idempotency_mismatch": 422,
    "rate_limited": 429,
    "too_many_payments": 429,
    "busy": 503,
    "locked": 503,
    "unavailable": 503,
}
_REFUSED = 409
_PAGE = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Unavailable</title><h1>Unavailable</h1><p>{}</p></html>\n'
_TITLES = {
    400: "Bad request",
    401: "Not signed in",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    408: "Too slow",
    409: "Refused",
    413: "Too large",
    415: "Unsupported media type",
    422: "Unprocessable content",
    429: "Too many requests",
    431: "Headers too large",
    500: "Internal error",
    503: "Unavailable",
}
_DATABASE_AWAY = (OperationalError, InterfaceError)  # classified by SQLSTATE: see flashsale.core.database.sqlstate
_UNKNOWN_CALLER = (exceptions.NotAuthenticated, exceptions.AuthenticationFailed, exceptions.PermissionDenied)
_CODES = {
    exceptions.NotAuthenticated: "not_authenticated",
    exceptions.AuthenticationFailed: "not_authenticated",
    exceptions.PermissionDenied: "permission_denied",
    exceptions.NotFound: "not_found",
    exceptions.MethodNotAllowed: "method_not_allowed",
    exceptions.NotAcceptable: "not_acceptable",
    exceptions.UnsupportedMediaType: "unsupported_media_type",
    exceptions.Throttled: "rate_limited",
}


def body(status: int, code: str, detail: str, errors: dict[str, Any] | None = None) -> dict[str, Any]:
    """A problem document as JSON values."""
    problem: dict[str, Any] = {"type": "about:blank", "title": _TITLES[status], "status": status, "code": code}
    problem["detail"] = detail
    if errors:
        problem["errors"] = errors
    return problem


def problem(status: int, code: str, detail: str) -> JsonResponse:
    """A problem response outside a DRF view."""
    return JsonResponse(body(status, code, detail), status=status, content_type=CONTENT_TYPE)


def problem_response(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler. Returns None for unexpected errors, which become a 500."""
    error = as_ours(error) or error
    if isinstance(error, Http404):
        error = exceptions.NotFound()
    if isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    if isinstance(error, _UNKNOWN_CALLER):
        error = _limited(context) or error
    if isinstance(error, FlashsaleError):
        return _ours(error)
    return _drf(error) if isinstance(error, exceptions.APIException) else None


def _away(error: Exception) -> Unavailable:
    told = {"event": "database_away", "sqlstate": sqlstate(error), "error": repr(error)}
    logger.error("database away", extra=told)
    return Unavailable(retry_after=1)


def _limited(context: dict[str, Any]) -> RateLimited | None:
    """Check the rate limits for a request that authentication refused before the throttle ran."""
    try:
        RuleThrottle().refuse_anonymous(context["request"], context["view"])
    except RateLimited as refusal:
        return refusal
    return None


def problem_of(error: FlashsaleError) -> Answer:
    """The answer for one of our errors."""
    status = _STATUS.get(error.code, _REFUSED)
    headers = {} if error.retry_after is None else {"Retry-After": retry_after(error.retry_after)}
    if isinstance(error, RateLimited):
        headers |= error.headers
    errors = error.errors if isinstance(error, Invalid) else None
    return Answer(body(status, error.code, error.detail, errors) | error.members, status, headers)


def internal_error() -> Answer:
    """The answer for an unexpected error."""
    return Answer(body(500, "internal", "An internal error occurred."), 500)


def as_ours(error: Exception) -> FlashsaleError | None:
    """Convert to one of our errors. None for unexpected errors."""
    return _away(error) if isinstance(error, _DATABASE_AWAY) else None


def _ours(error: FlashsaleError) -> Response:
    answer = problem_of(error)
    return Response(answer.values, status=answer.status, headers=dict(answer.headers), content_type=CONTENT_TYPE)


def _drf(error: exceptions.APIException) -> Response:
    headers = {}
    if getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = str(error.auth_header)  # type: ignore[attr-defined]
    if getattr(error, "wait", None):
        headers["Retry-After"] = str(math.ceil(error.wait))  # type: ignore[attr-defined]
    if isinstance(error, exceptions.ValidationError):
        detail = error.detail if isinstance(error.detail, dict) else {"non_field_errors": error.detail}
        return _response(body(400, "invalid", "The request is not valid.", dict(detail)), headers)
    code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), "invalid")
    return _response(body(error.status_code, code, _sentence(error.detail)), headers)


def _sentence(detail: Any) -> str:
    return str(detail.get("detail", "")) if isinstance(detail, dict) else str(detail)


def _response(problem: dict[str, Any], headers: dict[str, str]) -> Response:
    return Response(problem, status=problem["status"], headers=headers, content_type=CONTENT_TYPE)


def _is_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler400: unknown host or invalid path."""
    from django.views.defaults import bad_request as page

    return problem(400, "invalid", "The request is not valid.") if _is_api(request) else page(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler404."""
    from django.views.defaults import page_not_found

    return problem(404, "not_found", "Not found.") if _is_api(request) else page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500. Called while the error is handled, in a view or a middleware."""
    from django.views.defaults import server_error as page

    error = sys.exc_info()[1]
    if isinstance(error, _DATABASE_AWAY):
        error = _away(error)
    if isinstance(error, Unavailable):
        return _unavailable(request, error)
    if not _is_api(request):
        return page(request)
    return JsonResponse(internal_error().values, status=500, content_type=CONTENT_TYPE)


def _unavailable(request: HttpRequest, error: Unavailable) -> HttpResponse:
    if _is_api(request):
        answer: HttpResponse = problem(503, error.code, error.detail)
    else:
        answer = HttpResponse(_PAGE.format(escape(error.detail)), status=503)
    answer.headers["Retry-After"] = retry_after(error.retry_after or 1)
    answer.headers["Cache-Control"] = "no-store"
    return answer
