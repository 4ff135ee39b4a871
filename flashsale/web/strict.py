"""What the API takes: JSON that every part behind it can hold, no unknown fields, no types but those named."""

import json
from collections.abc import Mapping
from typing import IO, Any

from rest_framework import serializers
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):  # two readers would see two requests
        raise ValueError("a name stands twice")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_without_duplicates)


def parsed(raw: bytes) -> Any:
    """JSON in UTF-8, without names that stand twice, NaN, NUL, lone surrogates or nesting past the interpreter's depth.

    Raises:
        ParseError: not such JSON.
    """
    try:
        data = _DECODER.decode(raw.decode("utf-8"))
        if b"\\u" in raw:
            json.dumps(data, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise ParseError("The body is not valid JSON.") from error
    return data


class StrictJSONParser(BaseParser):
    """DRF's parser for :func:`parsed`."""

    media_type = "application/json"

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        """
        Raises:
            ParseError: not such JSON.
        """
        return parsed(stream.read())


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses fields that it does not name."""

    def to_internal_value(self, data: Any) -> Any:
        """
        Raises:
            ValidationError: unknown fields, by name.
        """
        if isinstance(data, Mapping):
            unknown = sorted(set(data) - set(self.fields))
            if unknown:
                raise serializers.ValidationError({name: ["Unknown field."] for name in unknown[:20]})
        return super().to_internal_value(data)


class Text(serializers.RegexField):
    """A JSON string, nothing that could be made one."""

    def __init__(self, regex: str, *, allowed: str = "", **options: Any) -> None:
        """
        Args:
            allowed: what the pattern lets pass, in words: "1 to 8 of a-z". Told to whoever sends something else.
        """
        if allowed:
            options.setdefault("error_messages", {"invalid": f"This must be a string of {allowed}."})
            options.setdefault("help_text", f"A string of {allowed}.")
        super().__init__(regex, trim_whitespace=False, **options)

    def to_internal_value(self, data: Any) -> str:
        """
        Raises:
            ValidationError: not a string.
        """
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Whole(serializers.IntegerField):
    """A JSON integer, nothing that could be made one."""

    def to_internal_value(self, data: Any) -> int:
        """
        Raises:
            ValidationError: not an integer.
        """
        if not isinstance(data, int) or isinstance(data, bool):
            self.fail("invalid")
        return super().to_internal_value(data)
