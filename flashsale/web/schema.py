"""The OpenAPI document: error responses of every call, strict request bodies, and caching."""

import threading
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from django.http import HttpResponse
from django.utils.cache import get_conditional_response
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from flashsale.web.problem import CONTENT_TYPE

_PROBLEM = {
    "type": "object",
    "description": "RFC 9457. `code` is stable, `detail` is a message for people, `errors` has messages by field.",
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
    "description": "The request was refused or failed.",
    "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def with_problems(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """drf-spectacular hook: add a `default` response to every call."""
    result["components"]["schemas"]["Problem"] = _PROBLEM
    for calls in result["paths"].values():
        for call in calls.values():
            call["responses"].setdefault("default", _ANSWER)
    return result


def without_unknown_fields(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """drf-spectacular hook: forbid unknown fields, as ``StrictSerializer`` does."""
    for body in _bodies(result):
        name = body.get("$ref", "").rpartition("/")[2]
        if name:
            result["components"]["schemas"][name]["additionalProperties"] = False
    return result


def _bodies(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for calls in result["paths"].values():
        for call in calls.values():
            for content in call.get("requestBody", {}).get("content", {}).values():
                yield content["schema"]


class Schema(SpectacularAPIView):
    """The OpenAPI document. It is built once per process."""

    permission_classes: Any = ()
    authentication_classes: Any = ()

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
        """The OpenAPI document."""
        renderer = request.accepted_renderer
        with _lock:  # only one thread builds it
            text = _built.get(renderer.media_type) or _built.setdefault(renderer.media_type, _build(renderer))
        response = HttpResponse(text, content_type=f"{renderer.media_type}; charset=utf-8")
        response.headers["Cache-Control"] = "public, max-age=60"
        response.headers["ETag"] = f'"{sha256(text).hexdigest()[:32]}"'
        answer = get_conditional_response(request._request, etag=response.headers["ETag"], response=response)
        return answer if isinstance(answer, HttpResponse) else response


_lock = threading.Lock()
_built: dict[str | None, bytes] = {}


def _build(renderer: BaseRenderer) -> bytes:
    document = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    text = renderer.render(document, renderer_context={})
    return text.encode() if isinstance(text, str) else bytes(text)
