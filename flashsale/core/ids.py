"""Identifiers that carry their item, so that a request which names only them finds the item's keys.

An order id is a UUID version 7: 48 bits of milliseconds, 12 random ones, the item's number in 28, 6 random ones, and 28 bits
that are random too until the id is sealed for its customer. A sealed id can be recognised when nothing else is known of it.
"""

import hmac
import re
import secrets
import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from flashsale.core.clock import EPOCH

_ITEM_BITS = 28
_TAIL_BITS = 62 - _ITEM_BITS
_SEAL_BITS = 28
MAX_ITEM = (1 << _ITEM_BITS) - 1
_TOKEN_RANDOM_BYTES = 24
_TOKEN = re.compile(r"(?P<item>[1-9][0-9]{0,8})\.(?P<secret>[A-Za-z0-9_-]{32})")


def _uuid7(tail: int) -> UUID:
    milliseconds = time.time_ns() // 1_000_000
    return UUID(int=milliseconds << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | tail)


def new_uuid() -> UUID:
    """A UUID version 7 (RFC 9562, section 5.7): sorts by creation, 74 random bits."""
    return _uuid7(secrets.randbits(62))


def new_order_id(item: int) -> UUID:
    """A UUID version 7 with the item's number in 28 of its random bits; 46 stay random until it is sealed.

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


def sealed(order_id: UUID, customer: int, key: bytes) -> UUID:
    """The id with its last 28 bits made from all its others, the customer and the key (HMAC-SHA256, truncated).

    Ids of one millisecond and item are equal for two customers with probability 2**-46, for one customer with 2**-18. An id
    that somebody makes up passes for sealed with probability 2**-28.
    """
    head = order_id.int >> _SEAL_BITS
    digest = hmac.digest(key, f"{head:x} {customer}".encode(), "sha256")
    return UUID(int=head << _SEAL_BITS | int.from_bytes(digest, "big") >> (256 - _SEAL_BITS))


def is_sealed(order_id: UUID, customer: int, keys: Iterable[bytes]) -> bool:
    """Whether this id was sealed for this customer, with one of these keys."""
    return any(hmac.compare_digest(sealed(order_id, customer, key).bytes, order_id.bytes) for key in keys)


def made_at(order_id: UUID) -> datetime:
    """When a UUID version 7 was made, to the millisecond, by its maker's clock."""
    return EPOCH + timedelta(milliseconds=order_id.int >> 80)


def new_purchase_token(item: int) -> str:
    """``<item>.<192 random bits>``: which item it is for is no secret, the rest is."""
    return f"{item}.{secrets.token_urlsafe(_TOKEN_RANDOM_BYTES)}"


def item_of_token(token: str) -> int | None:
    """The item a purchase token was issued for, or None when it cannot be one of ours."""
    match = _TOKEN.fullmatch(token)
    return int(match["item"]) if match else None
