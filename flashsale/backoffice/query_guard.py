"""Addresses of the staff's pages that no database can be asked about."""

from collections.abc import Callable

from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse


class QueryGuard:
    """A NUL in the query of a staff page is 400: no text of PostgreSQL holds one, and searches and filters would end as 500."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """
        Raises:
            BadRequest: a NUL, or text that is none in UTF-8.
        """
        if request.path.startswith("/admin/"):
            for name, values in request.GET.lists():
                if any(not _is_text(part) for part in (name, *values)):
                    raise BadRequest("The address holds characters that no text may hold.")
        return self.get_response(request)


def _is_text(value: str) -> bool:
    return "\x00" not in value and not any("\ud800" <= character <= "\udfff" for character in value)
