"""PostgreSQL timeout of requests."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from flashsale.core.database.patience import patience


class ShortPatience:
    """Middleware: sets a short PostgreSQL reply timeout for customers, so that a frozen server cannot block all threads. The
    admin has a longer timeout.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path.startswith("/admin/"):
            return self._get_response(request)
        with patience(settings.DATABASE_REQUEST_PATIENCE_S):
            return self._get_response(request)
