"""The route file that the gateway watches. Published answers come first, then the canary, then all other routes."""

import fcntl
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

import yaml
from django.conf import settings

from flashsale.gateway import envoy_admin
from flashsale.gateway.canary import Setting, redirected
from flashsale.gateway.edge_answers import FILTER_OFF, matcher

SOURCES = settings.BASE_DIR / "deploy" / "envoy"
_IN_FORCE_S = 5.0
_LONGEST_HEAD = 256  # the file begins with its version, which the publisher reads at each change


def filled(name: str, values: dict[str, Any]) -> str:
    """A file of ``deploy/envoy``, filled in with these values."""
    return Template((SOURCES / name).read_text(encoding="utf-8")).substitute(values)


def routes() -> dict[str, Any]:
    """The route configuration, in Envoy's JSON format."""
    return deepcopy(_routes(settings.MAX_BODY_BYTES + 1, settings.GATEWAY_BODY_BYTES))


@cache
def _routes(api_body_over: int, body_bytes: int) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(filled("routes.yaml", {"API_BODY_OVER": api_body_over, "BODY_BYTES": body_bytes}))
    return found


def routes_path(directory: Path) -> Path:
    """The file that the gateway watches."""
    return directory / "routes" / "routes.json"


def current_canary(directory: Path) -> Setting:
    """The canary setting. Off if no routes have been written yet."""
    try:
        with routes_path(directory).open(encoding="utf-8") as written:
            head = written.read(_LONGEST_HEAD)
    except FileNotFoundError:
        return Setting()
    version = re.match(r'\{"version_info": "([^"]*)"', head)
    return Setting.parse(version[1]) if version else Setting()


def put_in_force(directory: Path, setting: Setting) -> bool:
    """Write the routes and wait until the gateway uses them. Returns False if no gateway does. May run twice."""
    if not routes_path(directory).is_file():
        return False
    set_canary(directory, setting)
    deadline = time.monotonic() + _IN_FORCE_S
    while time.monotonic() < deadline:
        version = _version_in_force()
        if version is None:
            return False
        if Setting.parse(version) == setting:
            return True
        time.sleep(0.02)
    return False


def _version_in_force() -> str | None:
    try:
        found = envoy_admin.ask_json(settings.GATEWAY_ADMIN, "/config_dump?resource=dynamic_route_configs").get("configs", [])
    except (OSError, ValueError):
        return None
    return str(found[0].get("version_info", "")) if found else ""


def publish_edge(directory: Path, edge: Mapping[str, Sequence[str]], *, asks_service: bool = True) -> None:
    """Put these routes in front of all others. The canary setting is kept. May run twice.

    Args:
        edge: routes by path, as JSON.
        asks_service: the rate-limit service decides every request too. Otherwise the local bucket per address is enough.
    """
    with _alone(directory):
        _replace(_edge_path(directory), json.dumps({"paths": edge, "asks_service": asks_service}))
        _write(directory, current_canary(directory), edge, asks_service=asks_service)


def set_canary(directory: Path, setting: Setting) -> None:
    """Apply the canary setting, behind the published answers. May run twice."""
    with _alone(directory):
        edge = _edge_path(directory)
        published = json.loads(edge.read_text(encoding="utf-8")) if edge.is_file() else {}
        _write(directory, setting, published.get("paths", {}), asks_service=published.get("asks_service", True))


def _write(directory: Path, setting: Setting, edge: Mapping[str, Sequence[str]], *, asks_service: bool) -> None:
    """A version that is unique per file and contains the canary setting."""
    configuration = redirected(routes(), setting)
    (host,) = configuration["virtual_hosts"]
    if not asks_service:
        host["typed_per_filter_config"] = {"envoy.filters.http.ratelimit": FILTER_OFF}
    others = host.pop("routes") if edge else None
    kind = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
    version = f"{setting};{time.time_ns()}"
    text = json.dumps({"version_info": version, "resources": [{"@type": kind, **configuration}]})
    if others is not None:
        text = text.replace('"name": "shop"', f'"name": "shop", "matcher": {matcher(edge, others)}', 1)
    _replace(routes_path(directory), text)


def _edge_path(directory: Path) -> Path:
    return directory / "edge.json"


def _replace(path: Path, text: str) -> None:
    """Write by rename, so that no reader sees half a file."""
    new = path.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Lock the file, because the publisher and a command both write it."""
    with (directory / "routes.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
