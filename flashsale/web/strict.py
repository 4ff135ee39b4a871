"""Strict request parsing: valid JSON that all services can store, no unknown fields, no type conversion."""

import json
from collections.abc import Mapping
from typing import IO, Any

from rest_framework import serializers
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):  # parsers disagree on which value counts
        raise ValueError("duplicate name")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_without_duplicates)


def parsed(raw: bytes) -> Any:
    """Parse JSON in UTF-8. Refuses duplicate names, NaN, NUL, lone surrogates and too deep nesting.

    Raises:
        ParseError: the body is not such JSON.
    """
    try:
        data = _DECODER.decode(raw.decode("utf-8"))
        if b"\\u" in raw:
            json.dumps(data, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise ParseError("The body is not valid JSON.") from error
    return data


class StrictJSONParser(BaseParser):
    """DRF parser that uses :func:`parsed`."""

    media_type = "application/json"

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        """
        Raises:
            ParseError: the body is not valid JSON.
        """
        return parsed(stream.read())


class StrictSerializer(serializers.Serializer[Any]):
    """A serializer that refuses unknown fields."""

    def to_internal_value(self, data: Any) -> Any:
        """
        Raises:
            ValidationError: names the unknown fields.
        """
        if isinstance(data, Mapping):
            unknown = sorted(set(data) - set(self.fields))
            if unknown:
                raise serializers.ValidationError({name: ["Unknown field."] for name in unknown[:20]})
        return super().to_internal_value(data)


class Text(serializers.RegexField):
    """A JSON string. Other types are not converted."""

    def __init__(self, regex: str, *, allowed: str = "", **options: Any) -> None:
        """
        Args:
            allowed: the pattern in words for the error message, such as "1 to 8 characters from a-z".
        """
        if allowed:
            options.setdefault("error_messages", {"invalid": f"This must be a string of {allowed}."})
            options.setdefault("help_text", f"A string of {allowed}.")
        super().__init__(regex, trim_whitespace=False, **options)

    def to_internal_value(self, data: Any) -> str:
        """
        Raises:
            ValidationError: the value is not a string.
        """
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Whole(serializers.IntegerField):
    """A JSON integer. Other types are not converted."""

    def to_internal_value(self, data: Any) -> int:
        """
        Raises:
            ValidationError: the value is not an integer.
        """
        if not isinstance(data, int) or isinstance(data, bool):
            self.fail("invalid")
        return super().to_internal_value(data)
