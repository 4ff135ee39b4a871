"""What a call answers, before anybody decides how it is sent."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rest_framework.response import Response


@dataclass(frozen=True, slots=True)
class Answer:
    """``values``: plain values for JSON. ``headers``: beside those that every answer has."""

    values: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def sent(answer: Answer) -> Response:
    """The answer as a view gives it."""
    return Response(answer.values, answer.status, headers=dict(answer.headers))
