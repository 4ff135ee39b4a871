"""Refuse request bodies over the limit before they are read."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from flashsale.web.problem import problem


class BodyLimit:
    """Middleware for ``/api/``: 413 over ``MAX_BODY_BYTES``. WSGI treats a body without Content-Length as empty."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        announced = request.META.get("CONTENT_LENGTH") or "0"
        if (
            request.path.startswith("/api/")
            and announced.isascii()
            and announced.isdigit()
            and int(announced[:20]) > settings.MAX_BODY_BYTES
        ):
            return problem(413, "too_large", f"The request body is larger than {settings.MAX_BODY_BYTES} bytes.")
        return self._get_response(request)
