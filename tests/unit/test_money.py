"""Decimals of currencies by ISO 4217, and amounts in words and back."""

from decimal import Decimal

import pytest

from flashsale.core import money


@pytest.mark.parametrize(
    ("currency", "decimals"),
    [
        *((code, 0) for code in ("JPY", "KRW", "VND", "ISK", "CLP", "XAF", "UGX")),
        *((code, 2) for code in ("EUR", "USD", "GBP", "CHF", "HUF", "INR")),
        *((code, 3) for code in ("KWD", "BHD", "JOD", "OMR", "TND", "IQD", "LYD")),
        *((code, 4) for code in ("CLF", "UYW")),
        *((code, None) for code in ("ZZZ", "eur", "Eur", "", "EURO", "XAU", "XXX", "XTS", "DEM", "ＥＵＲ")),
    ],
)
def test_a_currency_has_the_decimals_of_its_minor_unit(currency, decimals):
    assert money.decimals(currency) == decimals


@pytest.mark.parametrize(
    ("amount", "currency", "written"),
    [
        ("129", "EUR", "129.00"),
        ("129.00", "EUR", "129.00"),
        ("129.0000", "EUR", "129.00"),
        ("0", "EUR", "0.00"),
        ("100.00", "JPY", "100"),
        ("1E+2", "JPY", "100"),
        ("0.00", "JPY", "0"),
        ("1.25", "KWD", "1.250"),
        ("1.2500", "KWD", "1.250"),
        ("1.2345", "CLF", "1.2345"),
        ("9999999999.99", "EUR", "9999999999.99"),
        ("100.50", "JPY", "100.5"),  # an earlier release took it
        ("3.10", "ZZZ", "3.10"),
        ("0", "", "0.00"),
        ("NaN", "EUR", "NaN"),
        ("1E+30", "EUR", "1E+30"),
    ],
)
def test_an_amount_is_written_with_the_decimals_of_its_currency(amount, currency, written):
    assert money.text(Decimal(amount), currency) == written


@pytest.mark.parametrize("text", ["0", "9.90", "100", "1.250", "9999999999.99"])
def test_plain_digits_are_an_amount(text):
    assert money.parse(text) == Decimal(text)


@pytest.mark.parametrize(
    "text", ["", "NaN", "Infinity", "-1", "+1", "1e5", "1_000", " 1", "1 ", "1\n", "1,50", "1.", ".5", "١", "0x1", "1" * 13]
)
def test_anything_else_is_none(text):
    with pytest.raises(ValueError, match="not an amount"):
        money.parse(text)
