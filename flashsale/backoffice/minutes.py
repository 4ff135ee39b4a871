"""A span of time that staff type in minutes."""

from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from django import forms
from django.utils.dateparse import parse_duration
from django.utils.duration import duration_string

_MINUTE = timedelta(minutes=1)
_MOST = Decimal(10_000_000)


class MinutesField(forms.Field):
    """Minutes, as ``30`` or ``0.5``; a span that is no whole number of them is shown, and may be typed, as ``0:00:45``."""

    default_error_messages = {"invalid": "A number of minutes, as 30, or hours:minutes:seconds, as 0:30:00."}

    def prepare_value(self, value: Any) -> Any:
        """What the form shows."""
        if not isinstance(value, timedelta):
            return value
        return duration_string(value) if value % _MINUTE else value // _MINUTE

    def to_python(self, value: Any) -> timedelta | None:
        """
        Raises:
            ValidationError: neither minutes nor a span.
        """
        if value in self.empty_values:
            return None
        if isinstance(value, timedelta):
            return value
        text = str(value).strip()
        found = _span(text) if ":" in text else _minutes(text)
        if found is None:
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid")
        return found

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether another span was typed, however it is written."""
        try:
            return self.to_python(initial) != self.to_python(data)
        except forms.ValidationError:
            return True


def _minutes(text: str) -> timedelta | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    if not number.is_finite() or abs(number) > _MOST:
        return None
    return timedelta(microseconds=int(number * 60_000_000))


def _span(text: str) -> timedelta | None:
    try:
        return parse_duration(text)
    except (ValueError, OverflowError):
        return None
