"""What every call of the API may answer beside its own, for the OpenAPI document."""

from typing import Any

from flashsale.edge.error_handler import CONTENT_TYPE

_PROBLEM = {
    "type": "object",
    "description": "RFC 9457. `code` is stable, `detail` is for people, `errors` names the fields that are wrong.",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "errors": {"type": "object", "additionalProperties": True},
    },
}
_ANSWER = {
    "description": "Refused or failed.",
    "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def with_problems(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """drf-spectacular's hook: a `default` answer for every call."""
    result["components"]["schemas"]["Problem"] = _PROBLEM
    for calls in result["paths"].values():
        for call in calls.values():
            call["responses"].setdefault("default", _ANSWER)
    return result
