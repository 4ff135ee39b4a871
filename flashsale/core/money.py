"""Amounts of money: how many decimals a currency has, by ISO 4217, and how an amount is written."""

import re
from decimal import Decimal
from typing import Any

from django.db import models
from iso4217 import Currency

MOST_DECIMALS = 4  # of a currency; CLF and UYW have them
_DECIMALS: dict[str, int] = {each.code: each.exponent for each in Currency if each.exponent is not None}
_USUAL = 2
_FAR = 20  # digits from the point
_AMOUNT = re.compile(r"[0-9]{1,12}(\.[0-9]{1,6})?", re.ASCII)


def decimals(currency: str) -> int | None:
    """How many digits the minor unit of a currency has; None for what is no currency in use, or has no minor unit (gold)."""
    return _DECIMALS.get(currency)


def parse(text: str) -> Decimal:
    """An amount in plain digits, like ``9.90``: no sign, exponent, spaces, nor digits of other scripts.

    Raises:
        ValueError: not one.
    """
    if not _AMOUNT.fullmatch(text):
        raise ValueError(f"not an amount of money: {text[:40]!r}")
    return Decimal(text)


def places(amount: Decimal) -> int:
    """How many decimals an amount needs: 0 for 100.00, 1 for 100.50."""
    return max(0, -int(amount.normalize().as_tuple().exponent))


def text(amount: Decimal, currency: str) -> str:
    """The amount with exactly the currency's decimals: 129.00 EUR, 100 JPY, 1.250 KWD.

    What an earlier release took may have more than that: none is dropped. An unknown currency has two. What is no amount
    that a column may hold comes back as it is.
    """
    if not amount.is_finite() or not -_FAR < amount.adjusted() < _FAR:
        return str(amount)
    known = decimals(currency)
    return f"{amount:.{max(_USUAL if known is None else known, places(amount))}f}"


def wrong_amount(amount: Decimal, currency: str) -> str:
    """What is wrong with an amount of this currency, for a form; empty when nothing is."""
    if not amount.is_finite():
        return "Not a valid amount."
    known = decimals(currency)
    if known is None or places(amount) <= known:
        return ""
    return f"{currency} has no minor unit: no decimals." if known == 0 else f"{currency} has {known} decimals at most."


class AmountField(models.DecimalField):  # type: ignore[type-arg]
    """A column for an amount of any currency. What is read has two decimals at least, and more where it needs them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **({"max_digits": 14, "decimal_places": MOST_DECIMALS} | kwargs))

    def deconstruct(self) -> Any:
        """In migrations it is Django's own."""
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.DecimalField", args, kwargs

    def from_db_value(self, value: Decimal | None, *_: object) -> Decimal | None:
        """Called by Django for each value that it reads."""
        return None if value is None else value.quantize(Decimal(1).scaleb(-max(_USUAL, places(value))))
