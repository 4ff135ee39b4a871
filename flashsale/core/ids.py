"""Identifiers that carry their item, so that a request which names only them finds the item's keys."""

import re
import secrets
import time
from uuid import UUID

_ITEM_BITS = 28
_TAIL_BITS = 62 - _ITEM_BITS
MAX_ITEM = (1 << _ITEM_BITS) - 1
_TOKEN_RANDOM_BYTES = 24
_TOKEN = re.compile(r"^(?P<item>[1-9][0-9]{0,8})\.(?P<secret>[A-Za-z0-9_-]{32})$")


def _uuid7(tail: int) -> UUID:
    milliseconds = time.time_ns() // 1_000_000
    return UUID(int=milliseconds << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | tail)


def new_uuid() -> UUID:
    """A UUID version 7 (RFC 9562, section 5.7): sorts by creation, 74 random bits."""
    return _uuid7(secrets.randbits(62))


def new_order_id(item: int) -> UUID:
    """A UUID version 7 with the item's number in 28 of its random bits; 46 stay random.

    Args:
        item: the SaleItem's primary key.

    Raises:
        ValueError: the number does not fit 28 bits.
    """
    if not 0 < item <= MAX_ITEM:
        raise ValueError(f"item {item} does not fit {_ITEM_BITS} bits")
    return _uuid7(item << _TAIL_BITS | secrets.randbits(_TAIL_BITS))


def item_of_order(order_id: UUID) -> int:
    """The item number in an order id; any number at all for an id that we did not make."""
    return (order_id.int & ((1 << 62) - 1)) >> _TAIL_BITS


def new_purchase_token(item: int) -> str:
    """``<item>.<192 random bits>``: which item it is for is no secret, the rest is."""
    return f"{item}.{secrets.token_urlsafe(_TOKEN_RANDOM_BYTES)}"


def item_of_token(token: str) -> int | None:
    """The item a purchase token was issued for, or None when it cannot be one of ours."""
    match = _TOKEN.match(token)
    return int(match["item"]) if match else None
