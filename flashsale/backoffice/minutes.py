"""A form field for durations in minutes."""

from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from django import forms
from django.utils.dateparse import parse_duration
from django.utils.duration import duration_string

_MINUTE = timedelta(minutes=1)
_MOST = Decimal(10_000_000)


class MinutesField(forms.Field):
    """A duration in minutes, such as ``30`` or ``0.5``. Also accepts ``0:00:45``, and shows fractions of a minute like that."""

    default_error_messages = {"invalid": "Enter a number of minutes such as 30, or hours:minutes:seconds such as 0:30:00."}

    def prepare_value(self, value: Any) -> Any:
        """The text shown in the form."""
        if not isinstance(value, timedelta):
            return value
        return duration_string(value) if value % _MINUTE else value // _MINUTE

    def to_python(self, value: Any) -> timedelta | None:
        """
        Raises:
            ValidationError: neither minutes nor hours:minutes:seconds.
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
        """Whether the duration differs, regardless of its notation."""
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
