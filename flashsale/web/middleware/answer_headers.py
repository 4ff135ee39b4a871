"""What every answer says to browsers and caches, whoever made it."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

_BASE = "object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
# Scripts and styles are files of ours, so text that slipped into a page as HTML still could not run.
_SHOP = f"default-src 'self'; img-src 'self' data:; {_BASE}"
# The admin's menus are Alpine expressions, which need eval; its colours are styles in the page.
_ADMIN = f"default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; {_BASE}"
_DOCS = f"default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; {_BASE}"
OF_DATA = "default-src 'none'; frame-ancestors 'none'"  # nothing in it is to be shown as a page

# Of every answer of the API, for those who give one without Django's middleware; a test compares them.
OF_API = (
    ("Content-Security-Policy", OF_DATA),
    ("X-Frame-Options", "DENY"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)


class AnswerHeaders:
    """Middleware: a content security policy on every answer; what the API says is for no cache unless it says so itself."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        response.headers.setdefault("Content-Security-Policy", _policy(request.path))
        if request.path.startswith("/api/v1/"):
            response.headers.setdefault("Cache-Control", "no-store")
        return response


def _policy(path: str) -> str:
    if path.startswith("/admin/"):
        return _ADMIN
    if path.startswith("/api/docs"):
        return _DOCS
    return OF_DATA if path.startswith("/api/") else _SHOP
