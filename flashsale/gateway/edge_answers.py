"""Answers that are the same for everybody, given by Envoy itself: as routes with a direct response.

A route is in force only while the publisher says so (the runtime key ``edge.fresh``, see ``publisher``); without it Envoy
goes on to the route behind it, which asks the web process.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

FRESH_KEY = "edge.fresh"
TIME = "\ue000time\ue000"  # stands in a body where the moment of the answer belongs
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


def routes_of(answers: Iterable[EdgeAnswer], foreign_origins: Iterable[str] = ()) -> dict[str, list[str]]:
    """Envoy's routes by path, as JSON. One of an answer that was there before is not made anew.

    Args:
        foreign_origins: of other sites' pages that may read answers; these need CORS headers, which the web process writes.
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
    """Envoy's matcher of a virtual host, as JSON: a path is looked up, at the same cost however many are published.

    Args:
        published: as ``routes_of`` gives it.
        others: the routes of all other requests, and of those that no published answer fits.
    """
    texts = [json.dumps(route) for route in others]
    by_path = (f"{json.dumps(path)}:{_list_of([*routes, *_behind(path, others, texts)])}" for path, routes in published.items())
    tree = f'{{"input":{_PATH},"exact_match_map":{{"map":{{{",".join(by_path)}}}}}}}'
    return f'{{"matcher_tree":{tree},"on_no_match":{_list_of(texts)}}}'


def _behind(path: str, others: Sequence[dict[str, Any]], texts: Sequence[str]) -> list[str]:
    """Those of the other routes that a request with this path can take: a tree that has found it looks at no others."""
    pairs = zip(others, texts, strict=True)
    return [text for other, text in pairs if path.startswith(other["match"].get("prefix", "\0"))]


def _list_of(routes: Sequence[str]) -> str:
    return f'{{"action":{{"name":"routes","typed_config":{{"@type":"{_ROUTE_LIST}","routes":[{",".join(routes)}]}}}}}}'


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
