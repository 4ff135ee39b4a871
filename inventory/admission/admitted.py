"""Plain data classes that pass between gate and ledger.

Processes of several releases exchange orders as JSON payloads. ``v`` is the format version; a payload without it has version
1. ``id``, ``customer`` and ``units`` keep their name and meaning in every version. A new field that older readers can ignore
does not change the version. A payload that older readers must not process gets a higher version.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, NamedTuple
from uuid import UUID

VERSION = 1  # the payload format that this release writes, and the newest that it reads


class NewerVersion(ValueError):
    """This release cannot read the payload's format version."""


@dataclass(frozen=True, slots=True)
class AdmittedOrder:
    """An order as the ``admit`` script wrote it to the stream."""

    id: UUID
    item: int
    customer: int
    sku: str
    units: int
    price: str
    currency: str
    source: str
    seq: str
    digest: str
    method: str
    at: int  # Redis time, in microseconds since 1970
    life: int = 0  # epoch of the gate that admitted it
    terms_version: int = 0  # version of the terms of price and currency; 0 if unknown
    limit_version: int = 0  # version of the terms of the limit per customer; 0 if unknown
    extra: Mapping[str, Any] = field(default_factory=dict, compare=False)  # fields of a newer release, passed on unchanged

    def as_payload(self) -> dict[str, Any]:
        """The order as JSON values."""
        return {
            **self.extra,
            "v": VERSION,
            "id": str(self.id),
            "item": self.item,
            "customer": self.customer,
            "sku": self.sku,
            "units": self.units,
            "price": self.price,
            "currency": self.currency,
            "source": self.source,
            "seq": self.seq,
            "digest": self.digest,
            "method": self.method,
            "at": self.at,
            "life": self.life,
            "terms_version": self.terms_version,
            "limit_version": self.limit_version,
        }

    @classmethod
    def from_payload(cls, payload: dict[str, Any]) -> "AdmittedOrder":
        """
        Raises:
            NewerVersion: only a newer release can read the payload.
            KeyError, TypeError, ValueError: a field is missing or invalid.
        """
        version = int(payload.get("v", 1))
        if version > VERSION:
            raise NewerVersion(f"payload version {version}, this release reads up to {VERSION}")
        return cls(
            id=UUID(payload["id"]),
            item=int(payload["item"]),
            customer=int(payload["customer"]),
            sku=str(payload["sku"]),
            units=int(payload["units"]),
            price=str(payload["price"]),
            currency=str(payload["currency"]),
            source=str(payload["source"]),
            seq=str(payload["seq"]),
            digest=str(payload["digest"]),
            method=str(payload["method"]),
            at=int(payload["at"]),
            life=int(payload.get("life", 0)),
            terms_version=int(payload.get("terms_version", 0)),
            limit_version=int(payload.get("limit_version", 0)),
            extra={name: value for name, value in payload.items() if name not in _OWN_FIELDS},
        )


_OWN_FIELDS = frozenset(each.name for each in fields(AdmittedOrder)) - {"extra"} | {"v"}


def read(payload: Any) -> AdmittedOrder | None:
    """The order in a payload, or None if this release cannot read it. Another release may, so do not reject on None."""
    try:
        return AdmittedOrder.from_payload(payload)
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError):
        return None


@dataclass(frozen=True, slots=True)
class ItemTerms:
    """The terms of an item that the gate enforces."""

    item: int
    version: int
    terms_version: int
    sku: str
    price: str
    currency: str
    per_customer: int
    state: Literal["open", "paused", "ended"]
    opens_at_us: int
    closes_at_us: int
    allocated: int
    life: int  # epoch of the gate; see SaleItem.gate_life
    pace_us: int  # microseconds between call-ups of the waiting room; 0 if there is none


class Streamed(NamedTuple):
    """The fields of a streamed order that a rebuild needs."""

    id: UUID
    item: int
    customer: int
    units: int


def envelope(payload: Any, item: int) -> Streamed | None:
    """The fields that every payload version has. None if there is no order id; customer and units are 0 if missing."""
    try:
        order_id = UUID(payload["id"])
    except (LookupError, TypeError, ValueError, AttributeError):
        return None
    return Streamed(order_id, item, _whole(payload.get("customer")), _whole(payload.get("units")))


def _whole(value: Any) -> int:
    try:
        return max(0, int(value))
    except (TypeError, ValueError, OverflowError):
        return 0


class Piece(NamedTuple):
    """Part of an item's holds or buyers, as JSON from PostgreSQL that Redis reads. Python does not decode it.

    ``units``: sum of the chunk's units. ``pairs``: a JSON array of order id, "customer:units", ... or of customer, units, ...
    """

    item: int
    kind: Literal["held", "buyers"]
    units: int
    pairs: str
