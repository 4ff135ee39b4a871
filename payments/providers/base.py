"""The interface of payment providers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from flashsale.core.errors import Invalid, Refused


class Outcome(StrEnum):
    """A provider's answer for a charge.

    Succeeded and declined are final. Unavailable, pending and unknown (no answer) mean: ask again later. Action: the customer
    must do something first. Postponed: the provider was not asked.
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
    """A request to a provider for one payment.

    ``key``: the idempotency key. The same key never charges twice. ``ref``: the provider's id of the charge, empty while it is
    unknown. ``opened_at``: when the payment was opened.
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
    """``code``: the reason of a decline, for the customer. ``retry_after_s``: when to ask again, if postponed."""

    request: ChargeRequest
    outcome: Outcome
    ref: str = ""
    code: str = ""
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Event:
    """A webhook event. ``outcome`` is None if the event does not decide a charge."""

    id: str
    kind: str
    outcome: Outcome | None = None
    key: str = ""
    ref: str = ""


@dataclass(frozen=True, slots=True)
class Action:
    """What the customer must do: open ``url``, or confirm in the page with the provider's script and ``client_secret``."""

    url: str = field(default="", repr=False)
    client_secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Booked:
    """A captured charge in the provider's books. ``key`` is empty if the charge is not ours."""

    key: str
    ref: str
    amount: Decimal
    refunded: Decimal
    currency: str
    at: datetime


class Provider(Protocol):
    """A payment provider. Every call may be repeated with the same keys and then gives the same result.

    ``signature_header``: header of the webhook signature. ``books_sql``: for a provider whose books are tables of our database,
    a SELECT of ``key, ref, amount, currency, refunded`` of the captured charges, otherwise empty. ``test_methods``: test
    payment methods and their labels.
    """

    signature_header: str
    books_sql: str
    test_methods: Sequence[tuple[str, str]]

    def takes(self, method: str) -> bool:
        """Whether this may be a payment method of the provider. Does not call the provider."""
        ...

    def charge(self, requests: Sequence[ChargeRequest], *, more: bool = False) -> Iterable[list[ChargeResult]]:
        """Charge each request once, however often it is sent. Yields groups of answers as they arrive.

        An answer may belong to an earlier call whose request took longer. A request may get no answer.

        Args:
            more: another call follows at once, so do not wait for slow answers.
        """
        ...

    def per_second(self) -> float | None:
        """How many requests the provider takes per second, over all processes. None means no limit."""
        ...

    def look_up(self, requests: Sequence[ChargeRequest]) -> list[ChargeResult]:
        """Look these charges up in the books, without charging. Charges that the books do not have are left out."""
        ...

    def refund(self, charge: ChargeRequest, refund_key: str, amount: Decimal) -> str:
        """Refund a charge, in full or in part. Returns the provider's reference.

        Raises:
            NoSuchCharge: there is no such captured charge.
            ProviderUnavailable: the provider did not answer. Try again later.
            Invalid: the provider refused the refund.
        """
        ...

    def action(self, charge: ChargeRequest) -> Action | None:
        """What the customer must do for a charge now, or None.

        Raises:
            ProviderUnavailable: the provider did not answer.
        """
        ...

    def read_event(self, body: bytes, headers: Mapping[str, str]) -> Event:
        """Parse the event in a webhook's raw body.

        Raises:
            SignatureInvalid: the signature is wrong or too old.
            Invalid: the body is not a valid event.
        """
        ...

    def hear(self, told: Sequence[tuple[ChargeRequest, Outcome]]) -> None:
        """Receive verified events, in order of arrival. Only the sandbox needs them. A real provider knows them already."""
        ...

    def captured(self, since: datetime) -> Iterator[Booked]:
        """Every charge that the provider has captured since this time, page by page."""
        ...
