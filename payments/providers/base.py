"""What a payment provider must be able to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from flashsale.core.errors import Refused


class Outcome(StrEnum):
    """What a provider can say: final, final, ask again later, ask again later, nothing heard."""

    SUCCEEDED = "succeeded"
    DECLINED = "declined"
    UNAVAILABLE = "unavailable"
    PENDING = "pending"
    UNKNOWN = "unknown"


class NoSuchCharge(Refused):
    """The provider has no such captured charge."""

    code = "no_such_charge"


@dataclass(frozen=True, slots=True)
class ChargeRequest:
    """``key``: the idempotency key; the same key never charges twice."""

    key: str
    amount: Decimal
    currency: str
    method: str


@dataclass(frozen=True, slots=True)
class ChargeResult:
    key: str
    outcome: Outcome
    ref: str = ""


class Provider(Protocol):
    """Every call may be repeated with the same keys, and answers the same truth."""

    methods: frozenset[str]

    def charge(self, requests: Sequence[ChargeRequest]) -> list[ChargeResult]:
        """Charge each request once, whatever number of times it is asked."""
        ...

    def look_up(self, keys: Sequence[str]) -> list[ChargeResult]:
        """What the books have of these charges, without charging; nothing of one that they do not have."""
        ...

    def hear(self, told: Sequence[tuple[ChargeRequest, Outcome]]) -> None:
        """Events that came signed in the provider's name, in the order they came. A real provider knows them already."""
        ...

    def refund(self, charge_key: str, refund_key: str, amount: Decimal) -> str:
        """Give a charge back; returns the provider's reference.

        Raises:
            NoSuchCharge: there is no such captured charge.
        """
        ...
