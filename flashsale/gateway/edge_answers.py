"""Answers that are the same for everybody. Envoy gives them itself, as routes with a direct response.

Such a route matches only while the publisher keeps the runtime key ``edge.fresh`` set (see ``publisher``). Without it Envoy
uses the next route, which goes to the web process.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

FRESH_KEY = "edge.fresh"
TIME = "\ue000time\ue000"  # placeholder in a body for the time of the answer
_TIME_FORMAT = "%START_TIME(%Y-%m-%dT%H:%M:%S.%6f)%Z"
FILTER_OFF = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": True}
_ROUTE_LIST = "type.googleapis.com/envoy.config.route.v3.RouteList"
_PATH = json.dumps(
    {
        "name": "path",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput",
            "header_name": ":path",
        },
    }
)
# Filters in front of the router are not needed for a known answer.
_NO_FILTERS = {f"envoy.filters.http.{name}": FILTER_OFF for name in ("buffer", "lua", "ratelimit")}


@dataclass(frozen=True, slots=True)
class EdgeAnswer:
    """``body``: the API's body, with ``TIME`` in place of its time. ``signed_in``: only for requests with credentials."""

    method: str
    path: str
    status: int
    content_type: str
    body: str
    headers: tuple[tuple[str, str], ...] = ()
    signed_in: bool = False


def routes_of(answers: Iterable[EdgeAnswer], foreign_origins: Iterable[str] = ()) -> dict[str, list[str]]:
    """Envoy's routes by path, as JSON. Routes of unchanged answers are reused.

    Args:
        foreign_origins: origins that may read answers by CORS. The web process answers them, because it writes the headers.
    """
    origins, found = tuple(foreign_origins), dict[str, list[str]]()
    for answer in answers:
        found.setdefault(answer.path, []).extend(_routes(answer, origins))
    return found


@lru_cache(maxsize=8_192)
def _routes(answer: EdgeAnswer, foreign_origins: tuple[str, ...]) -> tuple[str, ...]:
    ours = [{"name": "origin", "string_match": {"exact": origin}, "invert_match": True} for origin in foreign_origins]
    return tuple(json.dumps(_route(answer, [*ours, *wanted])) for wanted in _credentials(answer))


def matcher(published: Mapping[str, Sequence[str]], others: Sequence[dict[str, Any]]) -> str:
    """Envoy's matcher of a virtual host, as JSON. The cost of a look-up does not depend on the number of published paths.

    Args:
        published: result of ``routes_of``.
        others: the routes of all other requests, and of those that no published answer matches.
    """
    texts = [json.dumps(route) for route in others]
    by_path = (f"{json.dumps(path)}:{_list_of([*routes, *_behind(path, others, texts)])}" for path, routes in published.items())
    tree = f'{{"input":{_PATH},"exact_match_map":{{"map":{{{",".join(by_path)}}}}}}}'
    return f'{{"matcher_tree":{tree},"on_no_match":{_list_of(texts)}}}'


def _behind(path: str, others: Sequence[dict[str, Any]], texts: Sequence[str]) -> list[str]:
    """The other routes that can match this path. After Envoy's matcher finds the path, it tries no other routes."""
    pairs = zip(others, texts, strict=True)
    return [text for other, text in pairs if path.startswith(other["match"].get("prefix", "\0"))]


def _list_of(routes: Sequence[str]) -> str:
    return f'{{"action":{{"name":"routes","typed_config":{{"@type":"{_ROUTE_LIST}","routes":[{",".join(routes)}]}}}}}}'


def _credentials(answer: EdgeAnswer) -> list[list[dict[str, Any]]]:
    """The header conditions, one list per route. The web process answers a request without credentials with 401."""
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
