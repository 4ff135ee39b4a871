"""Identifiers that contain their item id, so that a request with only an identifier finds the item's Redis keys.

An order id is a UUID version 7: 48 bits of milliseconds, 12 random bits, 28 bits of item id, 6 random bits, and 28 bits that
are the signature for its customer (random until it is signed). A signed id can be verified without any stored data.
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
    """A UUID version 7 with the item id in 28 of its random bits. 46 bits stay random until it is signed.

    Args:
        item: the SaleItem's primary key.

    Raises:
        ValueError: the item id does not fit into 28 bits.
    """
    if not 0 < item <= MAX_ITEM:
        raise ValueError(f"item id {item} does not fit into {_ITEM_BITS} bits")
    return _uuid7(item << _TAIL_BITS | secrets.randbits(_TAIL_BITS))


def item_of_order(order_id: UUID) -> int:
    """The item id in an order id. An arbitrary number for ids of other origin."""
    return (order_id.int & ((1 << 62) - 1)) >> _TAIL_BITS


def sealed(order_id: UUID, customer: int, key: bytes) -> UUID:
    """Sign an order id: its last 28 bits become a truncated HMAC-SHA256 of the other bits and the customer.

    Two ids of the same millisecond and item are equal with probability 2**-46 for different customers, 2**-18 for the same one.
    A made-up id is accepted with probability 2**-28.
    """
    head = order_id.int >> _SEAL_BITS
    digest = hmac.digest(key, f"{head:x} {customer}".encode(), "sha256")
    return UUID(int=head << _SEAL_BITS | int.from_bytes(digest, "big") >> (256 - _SEAL_BITS))


def is_sealed(order_id: UUID, customer: int, keys: Iterable[bytes]) -> bool:
    """Whether this id was signed for this customer with one of these keys."""
    return any(hmac.compare_digest(sealed(order_id, customer, key).bytes, order_id.bytes) for key in keys)


def made_at(order_id: UUID) -> datetime:
    """The time in a UUID version 7, in milliseconds by its creator's clock."""
    return EPOCH + timedelta(milliseconds=order_id.int >> 80)


def new_purchase_token(item: int) -> str:
    """A purchase token ``<item>.<192 random bits>``. The item is not secret."""
    return f"{item}.{secrets.token_urlsafe(_TOKEN_RANDOM_BYTES)}"


def item_of_token(token: str) -> int | None:
    """The item of a purchase token, or None if the format is invalid."""
    match = _TOKEN.fullmatch(token)
    return int(match["item"]) if match else None
