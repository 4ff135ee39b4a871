"""What passes between the gate and the ledger: plain values, no behaviour."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple
from uuid import UUID


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

    def as_payload(self) -> dict[str, Any]:
        """JSON values, for a message or a row."""
        return {
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
            KeyError, TypeError, ValueError: not something that ``admit`` wrote.
        """
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
        )


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


class Piece(NamedTuple):
    """Some of an item's holds or buyers, as the database writes and the gate reads them; no process takes them apart.

    ``units``: the sum over the piece. ``pairs``: a JSON array of order id, "customer:units", ... or of customer, units, ...
    """

    item: int
    kind: Literal["held", "buyers"]
    units: int
    pairs: str
