"""Verify access tokens in exactly the form that this shop issues, in a few microseconds.

Only the holder of the signing key can make a token that passes. The library decides about every other form.
"""

import hmac
import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from functools import cache
from typing import Any

from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import AccessToken

_HEADER = urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=")  # in PyJWT's format
_LONGEST = 512  # bytes of claims
_KIND = AccessToken.token_type
_REQUIRED = frozenset({"token_type", "exp", "iat", "jti", "user_id"})


@cache
def _key() -> bytes | None:
    """Returns None if the settings require more than a signature check."""
    more = (api_settings.AUDIENCE, api_settings.ISSUER, api_settings.JWK_URL, api_settings.LEEWAY, api_settings.VERIFYING_KEY)
    return None if api_settings.ALGORITHM != "HS256" or any(more) else api_settings.SIGNING_KEY.encode()


def claims(raw: bytes) -> Mapping[str, Any] | None:
    """The claims of a valid access token. None if the library must decide."""
    key = _key()
    signed, _, signature = raw.rpartition(b".")
    header, _, payload = signed.partition(b".")
    if key is None or header != _HEADER or len(payload) > _LONGEST:
        return None
    expected = urlsafe_b64encode(hmac.digest(key, signed, "sha256")).rstrip(b"=")
    if not hmac.compare_digest(expected, signature):
        return None
    found = json.loads(urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)))
    if type(found) is not dict or not found.keys() >= _REQUIRED or "nbf" in found or found["token_type"] != _KIND:
        return None
    is_in_time = type(found["exp"]) is int and type(found["iat"]) is int and found["iat"] <= time.time() < found["exp"]
    return found if is_in_time else None
