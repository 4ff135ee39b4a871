"""Amounts of money: decimals of currencies (ISO 4217), parsing and formatting."""

import re
from decimal import Decimal
from typing import Any

from django.db import models
from iso4217 import Currency

MOST_DECIMALS = 4  # the most decimals a currency has (CLF, UYW)
_DECIMALS: dict[str, int] = {each.code: each.exponent for each in Currency if each.exponent is not None}
_USUAL = 2
_FAR = 20  # largest supported exponent
_AMOUNT = re.compile(r"[0-9]{1,12}(\.[0-9]{1,6})?", re.ASCII)


def decimals(currency: str) -> int | None:
    """Number of decimals of a currency. None for an unknown currency or one without a minor unit, such as gold."""
    return _DECIMALS.get(currency)


def parse(text: str) -> Decimal:
    """Parse an amount in plain digits, such as ``9.90``: no sign, exponent, spaces or digits of other scripts.

    Raises:
        ValueError: the text is not such an amount.
    """
    if not _AMOUNT.fullmatch(text):
        raise ValueError(f"not an amount of money: {text[:40]!r}")
    return Decimal(text)


def places(amount: Decimal) -> int:
    """Number of decimals an amount needs: 0 for 100.00, 1 for 100.50."""
    return max(0, -int(amount.normalize().as_tuple().exponent))


def text(amount: Decimal, currency: str) -> str:
    """Format an amount with the decimals of its currency: 129.00 EUR, 100 JPY, 1.250 KWD.

    Amounts that an earlier release stored with more decimals keep them. An unknown currency has two decimals. A value that is
    not a valid amount is returned as it is.
    """
    if not amount.is_finite() or not -_FAR < amount.adjusted() < _FAR:
        return str(amount)
    known = decimals(currency)
    return f"{amount:.{max(_USUAL if known is None else known, places(amount))}f}"


def wrong_amount(amount: Decimal, currency: str) -> str:
    """The form error of an amount in this currency, or an empty string."""
    if not amount.is_finite():
        return "Not a valid amount."
    known = decimals(currency)
    if known is None or places(amount) <= known:
        return ""
    return f"{currency} amounts have no decimals." if known == 0 else f"{currency} amounts have at most {known} decimals."


class AmountField(models.DecimalField):  # type: ignore[type-arg]
    """A column for amounts of any currency. Values are read with at least two decimals."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **({"max_digits": 14, "decimal_places": MOST_DECIMALS} | kwargs))

    def deconstruct(self) -> Any:
        """Appear as Django's DecimalField in migrations."""
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.DecimalField", args, kwargs

    def from_db_value(self, value: Decimal | None, *_: object) -> Decimal | None:
        """Convert a value read from the database."""
        return None if value is None else value.quantize(Decimal(1).scaleb(-max(_USUAL, places(value))))
