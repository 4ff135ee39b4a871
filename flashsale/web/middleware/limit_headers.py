"""Rate-limit headers."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse


class LimitHeaders:
    """Middleware: adds the limiter's headers to the response, whatever its status."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        for name, value in getattr(request, "limit_headers", {}).items():
            response.headers.setdefault(name, value)
        return response
