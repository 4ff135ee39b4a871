"""Refuse admin URLs with characters that PostgreSQL cannot handle."""

from collections.abc import Callable

from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse


class QueryGuard:
    """Middleware: 400 for a NUL in the query string, which would otherwise cause a 500 in searches and filters."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """
        Raises:
            BadRequest: the query string contains NUL or invalid UTF-8.
        """
        if request.path.startswith("/admin/"):
            for name, values in request.GET.lists():
                if any(not _is_text(part) for part in (name, *values)):
                    raise BadRequest("The URL contains invalid characters.")
        return self.get_response(request)


def _is_text(value: str) -> bool:
    return "\x00" not in value and not any("\ud800" <= character <= "\udfff" for character in value)
