"""Signatures of webhooks: ``t=<unix seconds>,v1=<hex HMAC-SHA256 of "t.body">``, under one of several secrets."""

import hashlib
import hmac
import time

from payments.providers.base import SignatureInvalid


def sign(body: bytes, moment: int, secret: str) -> str:
    """The value of the signature header."""
    digest = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"


def check(body: bytes, header: str, *, secrets: str, tolerance_s: int) -> None:
    """
    Args:
        secrets: separated by commas. Any of them may have signed, so that a secret can be rotated.

    Raises:
        SignatureInvalid: no secret matches, or the signature is more than ``tolerance_s`` seconds away from now.
    """
    parts = [part.partition("=") for part in header.split(",")]
    stamp = next((value for name, _, value in parts if name == "t"), "")
    moment = int(stamp) if stamp.isascii() and stamp.isdigit() and len(stamp) < 12 else 0
    if abs(time.time() - moment) > tolerance_s:
        raise SignatureInvalid
    given = [value.encode() for name, _, value in parts if name == "v1"]
    for secret in filter(None, (each.strip() for each in secrets.split(","))):  # an empty secret verifies nothing
        wanted = sign(body, moment, secret).partition("v1=")[2].encode()
        if any(hmac.compare_digest(wanted, each) for each in given):
            return
    raise SignatureInvalid
