"""What the API answers, as values. Fields that this version does not know are ignored."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

FINAL = frozenset({"paid", "cancelled", "rejected", "refunded"})  # an order's statuses that the pipeline leaves alone


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


@dataclass(frozen=True)
class Item:
    """An item of a sale; ``remaining`` may be a second old."""

    sku: str
    name: str
    price: Decimal
    currency: str
    list_price: Decimal | None
    per_customer: int
    remaining: int
    sold_out: bool

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Item":
        """The item of a JSON object."""
        return cls(
            sku=data["sku"],
            name=data["name"],
            price=Decimal(data["price"]),
            currency=data["currency"],
            list_price=None if data.get("list_price") is None else Decimal(data["list_price"]),
            per_customer=data["per_customer"],
            remaining=data["remaining"],
            sold_out=data["sold_out"],
        )


@dataclass(frozen=True)
class Sale:
    """A sale; ``state`` is scheduled, live, paused or ended."""

    slug: str
    name: str
    state: str
    opens_at: datetime
    closes_at: datetime
    server_time: datetime
    items: tuple[Item, ...]

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Sale":
        """The sale of a JSON object."""
        return cls(
            slug=data["slug"],
            name=data["name"],
            state=data["state"],
            opens_at=_time(data["opens_at"]),
            closes_at=_time(data["closes_at"]),
            server_time=_time(data["server_time"]),
            items=tuple(Item.of(each) for each in data["items"]),
        )


@dataclass(frozen=True)
class PurchaseToken:
    """The permission to order once, until ``expires_at``."""

    token: str = field(repr=False)
    expires_at: datetime

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "PurchaseToken":
        """The token of a JSON object."""
        return cls(token=data["token"], expires_at=_time(data["expires_at"]))


@dataclass(frozen=True)
class Place:
    """A place in an item's waiting room; times are seconds. Older servers give no number and no estimate."""

    ticket: str
    position: int
    retry_after: float
    number: int | None
    remaining: int | None
    estimated_wait: float | None

    @classmethod
    def of(cls, data: Mapping[str, Any], *, ticket: str) -> "Place":
        """The place of a JSON object; ``ticket`` where it has none."""
        return cls(
            ticket=data.get("ticket", ticket),
            position=data["position"],
            retry_after=data["retry_after"],
            number=data.get("number"),
            remaining=data.get("remaining"),
            estimated_wait=data.get("estimated_wait"),
        )


@dataclass(frozen=True)
class Numbers:
    """A waiting room's public numbers; ``check_in_every`` and ``retry_after`` are seconds, ``rate`` is turns per second."""

    now_serving: int
    check_in: int
    check_in_every: float
    remaining: int
    rate: float
    retry_after: float

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Numbers":
        """The numbers of a JSON object."""
        return cls(**{name: data[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class OrderRequest:
    """One wish to buy. Sent again, the very same request gets the same order: keep it until its answer is known.

    ``source`` is ``[a-z0-9-]{1,32}``, ``seq`` is ``[A-Za-z0-9._:-]{1,64}``; the pair is unique over all orders of the shop.
    """

    token: str = field(repr=False)
    sku: str
    quantity: int = 1
    source: str = "python"
    seq: str = field(default_factory=lambda: str(uuid.uuid4()))
    payment_method: str | None = None
    unit_price: Decimal | None = None

    def body(self) -> dict[str, Any]:
        """The request as JSON values; ``OrderRequest.of`` reads them."""
        values: dict[str, Any] = {name: getattr(self, name) for name in ("token", "sku", "quantity", "source", "seq")}
        if self.payment_method is not None:
            values["payment_method"] = self.payment_method
        if self.unit_price is not None:
            values["unit_price"] = format(self.unit_price, "f")
        return values

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "OrderRequest":
        """The request of the JSON values of ``body()``."""
        price = data.get("unit_price")
        return cls(**{**data, "unit_price": None if price is None else Decimal(price)})


@dataclass(frozen=True)
class Accepted:
    """The answer to an order: it will not be lost. ``is_replay``: the shop already had this request."""

    id: uuid.UUID
    status: str | None
    is_replay: bool


@dataclass(frozen=True)
class Refund:
    """A refund of a payment."""

    status: str
    amount: Decimal
    reason: str

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Refund":
        """The refund of a JSON object."""
        return cls(status=data["status"], amount=Decimal(data["amount"]), reason=data["reason"])


@dataclass(frozen=True)
class Payment:
    """A payment; ``needs_action``: the customer has to confirm it (see ``payment_action``)."""

    id: uuid.UUID
    status: str
    method: str
    amount: Decimal
    currency: str
    failure_code: str
    needs_action: bool
    refund: Refund | None

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Payment":
        """The payment of a JSON object."""
        return cls(
            id=uuid.UUID(data["id"]),
            status=data["status"],
            method=data["method"],
            amount=Decimal(data["amount"]),
            currency=data["currency"],
            failure_code=data.get("failure_code", ""),
            needs_action=data.get("needs_action", False),
            refund=Refund.of(data["refund"]) if data.get("refund") else None,
        )


@dataclass(frozen=True)
class Event:
    """A step of an order."""

    status: str
    reason: str
    at: datetime

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Event":
        """The event of a JSON object."""
        return cls(status=data["status"], reason=data["reason"], at=_time(data["at"]))


@dataclass(frozen=True)
class Order:
    """An order as its customer sees it."""

    id: uuid.UUID
    status: str
    reason: str
    sku: str
    quantity: int
    unit_price: Decimal
    total: Decimal
    currency: str
    source: str
    seq: str
    created_at: datetime
    expires_at: datetime | None
    payment: Payment | None
    history: tuple[Event, ...]

    @property
    def is_final(self) -> bool:
        """Whether the order is paid, cancelled, rejected or refunded."""
        return self.status in FINAL

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Order":
        """The order of a JSON object."""
        plain = ("status", "sku", "quantity", "currency", "source", "seq")
        return cls(
            **{name: data[name] for name in plain},
            id=uuid.UUID(data["id"]),
            reason=data.get("reason", ""),
            unit_price=Decimal(data["unit_price"]),
            total=Decimal(data["total"]),
            created_at=_time(data["created_at"]),
            expires_at=None if data.get("expires_at") is None else _time(data["expires_at"]),
            payment=Payment.of(data["payment"]) if data.get("payment") else None,
            history=tuple(Event.of(each) for each in data["history"]),
        )


@dataclass(frozen=True)
class Page:
    """A page of orders, newest first; ``cursor`` leads to the next one."""

    orders: tuple[Order, ...]
    cursor: str | None


@dataclass(frozen=True)
class PaymentAction:
    """Where the customer confirms a payment: a page, or a secret for the provider's script in the shop's page."""

    url: str
    client_secret: str = field(repr=False)
