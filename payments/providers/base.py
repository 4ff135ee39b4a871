"""What a payment provider must be able to do."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from flashsale.core.errors import Invalid, Refused


class Outcome(StrEnum):
    """What a provider can say of a charge.

    Final: succeeded, declined. Ask again later: unavailable, pending, unknown (nothing was heard). The customer must do
    something first: action. The provider was not asked at all: postponed.
    """

    SUCCEEDED = "succeeded"
    DECLINED = "declined"
    UNAVAILABLE = "unavailable"
    PENDING = "pending"
    UNKNOWN = "unknown"
    ACTION = "action"
    POSTPONED = "postponed"


class NoSuchCharge(Refused):
    """The provider has no such captured charge."""

    code = "no_such_charge"


class ProviderUnavailable(Refused):
    """The payment provider is temporarily unavailable. Try again later."""

    code = "provider_unavailable"


class SignatureInvalid(Invalid):
    """The signature is wrong or too old."""

    code = "signature_invalid"


@dataclass(frozen=True, slots=True)
class ChargeRequest:
    """A payment as a provider is asked about it.

    ``key``: the idempotency key; the same key never charges twice. ``ref``: the provider's own id of the charge, empty while it
    is not known. ``opened_at``: when the payment was opened.
    """

    key: str
    amount: Decimal
    currency: str
    method: str
    order_id: UUID
    opened_at: datetime
    ref: str = ""


@dataclass(frozen=True, slots=True)
class ChargeResult:
    """``code``: why it was declined, for the customer; ``retry_after_s``: of one that was postponed."""

    request: ChargeRequest
    outcome: Outcome
    ref: str = ""
    code: str = ""
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Event:
    """What a provider tells of its own accord. ``outcome`` is None for a kind of event that tells nothing of a charge."""

    id: str
    kind: str
    outcome: Outcome | None = None
    key: str = ""
    ref: str = ""


@dataclass(frozen=True, slots=True)
class Action:
    """What the customer has to do first: an ``url`` to go to, or ``client_secret`` for the provider's script in the page."""

    url: str = field(default="", repr=False)
    client_secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Booked:
    """A captured charge in the provider's books. ``key`` is empty for one that is not ours."""

    key: str
    ref: str
    amount: Decimal
    refunded: Decimal
    currency: str
    at: datetime


class Provider(Protocol):
    """Every call may be repeated with the same keys, and answers the same truth.

    ``signature_header``: of the webhooks. ``books_sql``: empty, or a SELECT of ``key, ref, amount, currency, refunded`` of what
    was captured, by a provider whose books are tables of our database. ``test_methods``: of test money,
    with their names.
    """

    signature_header: str
    books_sql: str
    test_methods: Sequence[tuple[str, str]]

    def takes(self, method: str) -> bool:
        """Whether this may be a payment method of the provider. Asks nobody."""
        ...

    def charge(self, requests: Sequence[ChargeRequest], *, more: bool = False) -> Iterable[list[ChargeResult]]:
        """Charge each request once, whatever number of times it is asked; groups of answers as they become known.

        An answer may be one to an earlier call, whose request took longer; a request may remain without one.

        Args:
            more: another call follows at once, so no answer need be waited for.
        """
        ...

    def per_second(self) -> float | None:
        """How many requests the provider takes in a second, over all processes; None where nothing but time limits them."""
        ...

    def look_up(self, requests: Sequence[ChargeRequest]) -> list[ChargeResult]:
        """What the books have of these charges, without charging; nothing of one that they do not have."""
        ...

    def refund(self, charge: ChargeRequest, refund_key: str, amount: Decimal) -> str:
        """Give a charge back, in whole or in part; returns the provider's reference.

        Raises:
            NoSuchCharge: there is no such captured charge.
            ProviderUnavailable: it may be tried again later.
            Invalid: refused.
        """
        ...

    def action(self, charge: ChargeRequest) -> Action | None:
        """What the customer has to do for a charge now; None for nothing.

        Raises:
            ProviderUnavailable: it cannot be said at present.
        """
        ...

    def read_event(self, body: bytes, headers: Mapping[str, str]) -> Event:
        """The event in a webhook's raw body.

        Raises:
            SignatureInvalid: signed by nobody we know, or too long ago.
            Invalid: not an event.
        """
        ...

    def hear(self, told: Sequence[tuple[ChargeRequest, Outcome]]) -> None:
        """Events that came signed in the provider's name, in the order they came. A real provider knows them already."""
        ...

    def captured(self, since: datetime) -> Iterator[Booked]:
        """Every charge that the provider has captured since then, page by page."""
        ...
