"""Log failed sign-ins of staff and customers."""

import logging
from typing import Any

from django.http import HttpRequest

from flashsale.ratelimit.client_address import address_of

logger = logging.getLogger(__name__)
_NAME_LENGTH = 60


def note(sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    """Log the name and the address, never the password."""
    name = str(credentials.get("username", ""))[:_NAME_LENGTH]
    address = "unknown" if request is None else address_of(request.META)
    path = "" if request is None else request.path[:_NAME_LENGTH]
    logger.warning("sign-in failed", extra={"event": "sign_in_failed", "username": name, "address": address, "path": path})
