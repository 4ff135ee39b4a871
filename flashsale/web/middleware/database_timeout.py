"""How long a request waits for PostgreSQL."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from flashsale.core.database.patience import patience


class ShortPatience:
    """Middleware: customers are told within seconds that PostgreSQL does not answer, so that its silence cannot hold all the
    threads that take orders. The admin's work may take longer.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path.startswith("/admin/"):
            return self._get_response(request)
        with patience(settings.DATABASE_REQUEST_PATIENCE_S):
            return self._get_response(request)
