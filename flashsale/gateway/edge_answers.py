"""Answers that are the same for everybody, given by Envoy itself: as routes with a direct response.

A route is in force only while the publisher says so (the runtime key ``edge.fresh``, see ``publisher``); without it Envoy
goes on to the route behind it, which asks the web process.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

FRESH_KEY = "edge.fresh"
TIME = "\ue000time\ue000"  # stands in a body where the moment of the answer belongs
_TIME_FORMAT = "%START_TIME(%Y-%m-%dT%H:%M:%S.%6f)%Z"
FILTER_OFF = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": True}
# What the filters in front of the router find out is of no use to an answer that is known.
_NO_FILTERS = {f"envoy.filters.http.{name}": FILTER_OFF for name in ("buffer", "lua", "ratelimit")}


@dataclass(frozen=True, slots=True)
class EdgeAnswer:
    """``body``: as the API gives it, with ``TIME`` for its time. ``signed_in``: only for who brings credentials."""

    method: str
    path: str
    status: int
    content_type: str
    body: str
    headers: tuple[tuple[str, str], ...] = ()
    signed_in: bool = False


def routes_of(answers: Iterable[EdgeAnswer], foreign_origins: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Envoy's routes, to be put in front of all others.

    Args:
        foreign_origins: of other sites' pages that may read answers; these need CORS headers, which the web process writes.
    """
    ours = [{"name": "origin", "string_match": {"exact": origin}, "invert_match": True} for origin in foreign_origins]
    return [_route(answer, [*ours, *wanted]) for answer in answers for wanted in _credentials(answer)]


def _credentials(answer: EdgeAnswer) -> list[list[dict[str, Any]]]:
    """The header conditions, one list per route: a request without credentials is answered 401 by the web process."""
    if not answer.signed_in:
        return [[]]
    cookie = {"name": "cookie", "string_match": {"contains": "sessionid="}}
    return [[{"name": "authorization", "present_match": True}], [cookie]]


def _route(answer: EdgeAnswer, headers: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "match": {
            "path": answer.path,
            "headers": [
                {"name": ":method", "string_match": {"exact": answer.method}},
                *headers,
            ],
            "runtime_fraction": {"default_value": {"numerator": 0}, "runtime_key": FRESH_KEY},
        },
        "direct_response": {
            "status": answer.status,
            "body_format": {
                "text_format_source": {"inline_string": _format(answer.body)},
                "content_type": answer.content_type,
            },
        },
        "response_headers_to_add": [
            {"header": {"key": name, "value": value.replace("%", "%%")}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
            for name, value in answer.headers
        ],
        "typed_per_filter_config": _NO_FILTERS,
    }


def _format(body: str) -> str:
    return body.replace("%", "%%").replace(TIME, _TIME_FORMAT)
