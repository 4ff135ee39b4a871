"""Validate common input by a serializer's rules in a few microseconds, without the serializer's overhead.

The fields, patterns, bounds and validators are the serializer's own. The serializer decides about other input.
"""

from collections.abc import Callable
from typing import Any

from django.core.validators import ProhibitNullCharactersValidator, RegexValidator
from rest_framework.exceptions import ValidationError
from rest_framework.serializers import Serializer
from rest_framework.validators import ProhibitSurrogateCharactersValidator

from flashsale.web.strict import StrictSerializer, Text, Whole

Check = Callable[[Any], bool]
# A pattern of visible ASCII characters matches none of these.
_IMPLIED = (RegexValidator, ProhibitNullCharactersValidator, ProhibitSurrogateCharactersValidator)


class Quick:
    """Validates like a :class:`StrictSerializer` of ``Text`` and ``Whole`` fields."""

    def __init__(self, serializer: StrictSerializer) -> None:
        """
        Raises:
            TypeError: a field has another type, or the serializer has rules beyond its fields.
        """
        if type(serializer).validate is not Serializer.validate:
            raise TypeError(f"{serializer!r} has rules beyond its fields")
        self._checks = {name: _check(field) for name, field in serializer.fields.items()}
        self._required = frozenset(name for name, field in serializer.fields.items() if field.required)
        self._converted = {name: field.converted for name, field in serializer.fields.items() if hasattr(field, "converted")}

    def __call__(self, data: Any) -> dict[str, Any] | None:
        """The validated values. None if the serializer must decide."""
        if type(data) is not dict or not self._required <= data.keys():
            return None
        checks = self._checks
        try:
            for name, value in data.items():
                if not checks[name](value):
                    return None
        except (KeyError, ValidationError):
            return None
        return data | {name: convert(data[name]) for name, convert in self._converted.items() if name in data}


def _check(field: Any) -> Check:
    if isinstance(field, Whole):
        within = range(field.min_value or 0, (field.max_value or 0) + 1)
        return lambda value: type(value) is int and value in within
    if not isinstance(field, Text):
        raise TypeError(f"{field!r} is neither a text nor a whole number")
    pattern: Any = next(each for each in field.validators if isinstance(each, RegexValidator)).regex
    matches = pattern.search
    others: list[Any] = [each for each in field.validators if not isinstance(each, _IMPLIED)]

    def is_good(value: Any) -> bool:
        if type(value) is not str or not value or not value.isascii() or not matches(value):
            return False
        for validate in others:
            validate(value)
        return True

    return is_good
