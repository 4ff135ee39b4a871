"""Security and cache headers of all responses."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

_BASE = "object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
# Only our own files may be scripts and styles, so injected HTML cannot run code.
_SHOP = f"default-src 'self'; img-src 'self' data:; {_BASE}"
# The admin's menus use Alpine expressions, which need eval. Its colours are inline styles.
_ADMIN = f"default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; {_BASE}"
_DOCS = f"default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; {_BASE}"
OF_DATA = "default-src 'none'; frame-ancestors 'none'"  # JSON is never shown as a page

# Headers of API responses made without Django's middleware. A test compares them with the middleware's.
OF_API = (
    ("Content-Security-Policy", OF_DATA),
    ("X-Frame-Options", "DENY"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)


class AnswerHeaders:
    """Middleware: sets a content security policy, and disables caching of API responses that do not allow it."""

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
