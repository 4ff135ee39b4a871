"""What a payment provider must be able to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Protocol


class Outcome(StrEnum):
    """What a provider can say: final, final, ask again later, ask again later, nothing heard."""

    SUCCEEDED = "succeeded"
    DECLINED = "declined"
    UNAVAILABLE = "unavailable"
    PENDING = "pending"
    UNKNOWN = "unknown"


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

    def refund(self, charge_key: str, refund_key: str, amount: Decimal) -> str:
        """Give a charge back; returns the provider's reference."""
        ...
