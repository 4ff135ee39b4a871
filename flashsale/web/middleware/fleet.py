"""The X-Fleet header."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse


class FleetHeader:
    """Middleware: sets ``X-Fleet``, the fleet that answered, on every response."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        response.headers["X-Fleet"] = settings.FLEET
        return response
