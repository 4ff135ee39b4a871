"""Which other sites' pages may call the API from a browser. They send access tokens; cookies are for our own pages alone."""

from urllib.parse import urlsplit

from flashsale.settings import env


def _origins(name: str) -> list[str]:
    """A comma-separated list of ``https://host[:port]``.

    Raises:
        InvalidSetting: one of them is no origin.
    """
    found = env.names(name)
    for origin in found:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or not parts.hostname or origin != f"{parts.scheme}://{parts.netloc}":
            raise env.InvalidSetting(f"{name}: {origin!r} is not an origin such as https://shop.example")
    return found


CORS_ALLOWED_ORIGINS = _origins("CORS_ALLOWED_ORIGINS")
CORS_URLS_REGEX = r"^/api/"
CORS_ALLOW_CREDENTIALS = False
CORS_PREFLIGHT_MAX_AGE = 600  # seconds
CORS_EXPOSE_HEADERS = (
    "ETag",
    "Idempotency-Replayed",
    "Link",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
)
