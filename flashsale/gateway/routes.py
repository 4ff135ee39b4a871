"""Where requests go: the route file that the gateway watches. Published answers come first, then the canary, then the rest."""

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template
from typing import Any

import yaml
from django.conf import settings

from flashsale.gateway import envoy_admin
from flashsale.gateway.canary import Setting, redirected
from flashsale.gateway.edge_answers import FILTER_OFF

SOURCES = settings.BASE_DIR / "deploy" / "envoy"
_IN_FORCE_S = 5.0


def filled(name: str, values: dict[str, Any]) -> str:
    """A file of ``deploy/envoy`` with these values."""
    return Template((SOURCES / name).read_text(encoding="utf-8")).substitute(values)


def routes() -> dict[str, Any]:
    """The route configuration, as Envoy's JSON values."""
    values = {"API_BODY_OVER": settings.MAX_BODY_BYTES + 1, "BODY_BYTES": settings.GATEWAY_BODY_BYTES}
    found: dict[str, Any] = yaml.safe_load(filled("routes.yaml", values))
    return found


def routes_path(directory: Path) -> Path:
    """The file that the gateway watches."""
    return directory / "routes" / "routes.json"


def current_canary(directory: Path) -> Setting:
    """What is set for the canary; off where nothing was written yet."""
    try:
        written = json.loads(routes_path(directory).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Setting()
    return Setting.parse(written["version_info"])


def put_in_force(directory: Path, setting: Setting) -> bool:
    """Write the routes, and wait for the gateway to go by them; False when none does. May run twice."""
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


def publish_edge(directory: Path, edge: list[dict[str, Any]], *, asks_service: bool = True) -> None:
    """Put these routes in front of all others, beside what is set for the canary. May run twice.

    Args:
        asks_service: every request is decided by the rate-limit service too; else the local bucket of its address is enough.
    """
    with _alone(directory):
        _replace(_edge_path(directory), json.dumps({"routes": edge, "asks_service": asks_service}))
        _write(directory, current_canary(directory))


def set_canary(directory: Path, setting: Setting) -> None:
    """Put the canary's routes in force, behind the published answers. May run twice."""
    with _alone(directory):
        _write(directory, setting)


def _write(directory: Path, setting: Setting) -> None:
    """The version tells what is set for the canary, and one file from the next."""
    configuration = redirected(routes(), setting)
    edge = _edge_path(directory)
    if edge.is_file():
        published = json.loads(edge.read_text(encoding="utf-8"))
        for host in configuration["virtual_hosts"]:
            host["routes"][:0] = published["routes"]
            if not published["asks_service"]:
                host["typed_per_filter_config"] = {"envoy.filters.http.ratelimit": FILTER_OFF}
    kind = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
    version = f"{setting};{time.time_ns()}"
    text = json.dumps({"version_info": version, "resources": [{"@type": kind, **configuration}]})
    _replace(routes_path(directory), text)


def _edge_path(directory: Path) -> Path:
    return directory / "edge.json"


def _replace(path: Path, text: str) -> None:
    """By a rename, so that nobody reads half of it."""
    new = path.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """The publisher and a command write the same file from parts of their own."""
    with (directory / "routes.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
