"""Sends whoever left out the slash at the end to the right address."""

from django.http import HttpResponsePermanentRedirect
from django.middleware.common import CommonMiddleware


class _SameRequest(HttpResponsePermanentRedirect):
    status_code = 308  # after a 301 a client would send its POST as a GET, without the body


class TrailingSlash(CommonMiddleware):
    """Django's middleware, with a redirect that keeps method and body."""

    response_redirect_class = _SameRequest
