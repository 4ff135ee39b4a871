"""Redirect URLs without a trailing slash."""

from django.http import HttpResponsePermanentRedirect
from django.middleware.common import CommonMiddleware


class _SameRequest(HttpResponsePermanentRedirect):
    status_code = 308  # a 301 would turn a POST into a GET without a body


class TrailingSlash(CommonMiddleware):
    """Django's middleware with a redirect that keeps method and body."""

    response_redirect_class = _SameRequest
