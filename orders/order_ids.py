"""Create and verify signed order ids."""

import hmac
from functools import cache
from uuid import UUID

from django.conf import settings

from flashsale.core import ids


@cache
def _key(secret: str) -> bytes:
    return hmac.digest(secret.encode(), b"order ids", "sha256")


def new(item: int, customer: int) -> UUID:
    """A new id for this customer's order of this item.

    Raises:
        ValueError: the item id does not fit into an order id.
    """
    return ids.sealed(ids.new_order_id(item), customer, _key(settings.SECRET_KEY))


def was_told(order_id: UUID, customer: int) -> bool:
    """Whether this id was issued to this customer, signed with ``SECRET_KEY`` or one of ``SECRET_KEY_FALLBACKS``."""
    secrets = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return ids.is_sealed(order_id, customer, [_key(secret) for secret in secrets])
