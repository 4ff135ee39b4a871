"""What passes between the gate and the ledger: plain values, no behaviour.

An order crosses processes of several releases as a JSON payload. ``v`` is the version of its format; a payload without one is
of version 1. In every version ``id``, ``customer`` and ``units`` keep their names and meaning. A release that adds a field
which older readers may ignore keeps the version; one whose payloads an older reader must leave alone raises it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, NamedTuple
from uuid import UUID

VERSION = 1  # the newest payload format that this release reads, and the one that it writes


class NewerVersion(ValueError):
    """The payload has a format that this release does not know."""


@dataclass(frozen=True, slots=True)
class AdmittedOrder:
    """An order as ``admit`` wrote it into the stream."""

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
    at: int  # microseconds since the epoch, Redis's clock
    life: int = 0  # of the gate that admitted it
    terms_version: int = 0  # of the item's terms that price and currency are of; 0: the gate did not know
    limit_version: int = 0  # of the terms whose per_customer it was admitted under; 0: the gate did not know
    extra: Mapping[str, Any] = field(default_factory=dict, compare=False)  # fields of a newer release, handed on unchanged

    def as_payload(self) -> dict[str, Any]:
        """JSON values, for a message or a row."""
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
            NewerVersion: only a newer release can read it.
            KeyError, TypeError, ValueError: a field is missing, or is not what this release writes.
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
    """The order in a payload; None if this release cannot read it. Another one may, so nothing final follows from None."""
    try:
        return AdmittedOrder.from_payload(payload)
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError):
        return None


@dataclass(frozen=True, slots=True)
class ItemTerms:
    """Everything about an item that the gate decides by."""

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
    life: int  # of the gate; see SaleItem.gate_life
    pace_us: int  # between two call-ups of the waiting room; 0 without one


class Streamed(NamedTuple):
    """What a rebuild needs of an order in the stream."""

    id: UUID
    item: int
    customer: int
    units: int


def envelope(payload: Any, item: int) -> Streamed | None:
    """What every version of a payload says of an order; None if there is not even an order id.

    Customer and units are 0 where they are missing.
    """
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
    """Some of an item's holds or buyers, as the database writes and the gate reads them; no process takes them apart.

    ``units``: the sum over the piece. ``pairs``: a JSON array of order id, "customer:units", ... or of customer, units, ...
    """

    item: int
    kind: Literal["held", "buyers"]
    units: int
    pairs: str
