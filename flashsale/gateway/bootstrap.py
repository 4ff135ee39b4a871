"""Fill in ``deploy/envoy/gateway.yaml``, Envoy's bootstrap configuration."""

import json
from pathlib import Path

import yaml
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from flashsale.core.errors import Invalid, NotFound, RateLimited, Unavailable
from flashsale.gateway.routes import SOURCES, filled, publish_edge, routes_path
from flashsale.web.problem import CONTENT_TYPE, body
from inventory.errors import Busy

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_AT_ONCE_OWN, _AT_ONCE_SHARED = 8, 2
_LONGEST_SOCKET_PATH = 107  # limit of the kernel
_WEB_AT_ONCE, _ORDERS_AT_ONCE = 512, 512  # requests that a web host is given at once; its event loop takes them all


def _problem(status: int, code: str, detail: str) -> str:
    return json.dumps(body(status, code, detail)).replace("%", "%%").replace("'", "''")


def _endpoints(addresses: list[tuple[str, int]]) -> str:
    sockets = ({"socket_address": {"address": host, "port_value": port}} for host, port in addresses)
    return json.dumps([{"endpoint": {"address": socket}} for socket in sockets])


def _socket_path(path: str) -> str:
    if len(path.encode()) > _LONGEST_SOCKET_PATH:
        raise ImproperlyConfigured(f"GATEWAY_ADMIN is too long for a Unix socket ({_LONGEST_SOCKET_PATH} bytes): {path}")
    return path


def _operator_domains(hosts: list[str]) -> list[str]:
    """Host names of the operators' port, in Envoy's format: loopback and the shop's own."""
    own = (f"*{host}" if host.startswith(".") else host for host in hosts)
    return list(dict.fromkeys([*_LOOPBACK, *own]))


def _at_once(addresses: list[tuple[str, int]]) -> int:
    """Concurrent requests per kind. Low where customers need the same threads."""
    return _AT_ONCE_SHARED if set(addresses) & set(settings.GATEWAY_WEB) else _AT_ONCE_OWN * len(addresses)


def gateway(directory: Path) -> str:
    """Envoy's bootstrap as JSON.

    Args:
        directory: the folder where Envoy reads the routes.
    """
    hosts = [host.lstrip(".") for host in settings.ALLOWED_HOSTS if host != "*"]
    text = filled(
        "gateway.yaml",
        {
            "ADMIN_SOCKET": json.dumps(_socket_path(settings.GATEWAY_ADMIN)),
            "OPERATOR_HOST": settings.GATEWAY_OPERATOR_LISTEN[0],
            "OPERATOR_PORT": settings.GATEWAY_OPERATOR_LISTEN[1],
            "OPERATOR_DOMAINS": json.dumps(_operator_domains(settings.ALLOWED_HOSTS)),
            "SIGNIN_AT_ONCE": _at_once(settings.GATEWAY_SIGNIN),
            "STAFF_AT_ONCE": _at_once(settings.GATEWAY_STAFF),
            "SIGNIN_ENDPOINTS": _endpoints(settings.GATEWAY_SIGNIN),
            "STAFF_ENDPOINTS": _endpoints(settings.GATEWAY_STAFF),
            "LISTEN_HOST": settings.GATEWAY_LISTEN[0],
            "LISTEN_PORT": settings.GATEWAY_LISTEN[1],
            "WEB_ENDPOINTS": _endpoints(settings.GATEWAY_WEB),
            "CANARY_ENDPOINTS": _endpoints(settings.GATEWAY_CANARY),
            "REQUEST_LUA": json.dumps((SOURCES / "request.lua").read_text(encoding="utf-8")),
            "EDGE_HOST": settings.GATEWAY_EDGE[0],
            "EDGE_PORT": settings.GATEWAY_EDGE[1],
            "RATELIMIT_HOST": settings.GATEWAY_RATELIMIT[0],
            "RATELIMIT_PORT": settings.GATEWAY_RATELIMIT[1],
            "TRUSTED_HOPS": settings.GATEWAY_TRUSTED_HOPS,
            "CONNECTIONS": settings.GATEWAY_CONNECTIONS,
            "ADDRESSES": settings.GATEWAY_ADDRESSES,
            "ADDRESS_BURST": settings.GATEWAY_ADDRESS_BURST,
            "ADDRESS_RATE": settings.GATEWAY_ADDRESS_RATE,
            "API_BODY_BYTES": settings.MAX_BODY_BYTES,
            "DIRECTORY": directory.resolve(),
            "HEALTH_HOST": hosts[0] if hosts else "localhost",
            "PROBLEM_TYPE": CONTENT_TYPE,
            "PROBLEM_400": _problem(400, Invalid.code, "The request could not be parsed."),
            "PROBLEM_403": _problem(403, "forbidden", "Not allowed."),
            "PROBLEM_404": _problem(404, NotFound.code, NotFound().detail),
            "PROBLEM_408": _problem(408, "timeout", "The request took too long to arrive."),
            "PROBLEM_413": _problem(413, "too_large", f"The request body is larger than {settings.MAX_BODY_BYTES} bytes."),
            "PROBLEM_429": _problem(429, RateLimited.code, RateLimited().detail),
            "PROBLEM_431": _problem(431, "headers_too_large", "The URL or the headers are too long."),
            "PROBLEM_BUSY": _problem(503, Busy.code, Busy().detail),
            "WEB_AT_ONCE": _WEB_AT_ONCE * len(settings.GATEWAY_WEB),
            "ORDERS_AT_ONCE": _ORDERS_AT_ONCE * len(settings.GATEWAY_WEB),
            "PROBLEM_503": _problem(503, Unavailable.code, Unavailable().detail),
        },
    )
    return json.dumps(yaml.safe_load(text), indent=1)  # Envoy's YAML parser does not support merge keys


def write(directory: Path) -> Path:
    """Write both files. Returns the path of the bootstrap. A running gateway applies new routes at once, the rest at a restart.

    The canary setting is kept.
    """
    routes_path(directory).parent.mkdir(parents=True, exist_ok=True)
    publish_edge(directory, {})
    path = directory / "gateway.json"
    path.write_text(gateway(directory), encoding="utf-8")
    return path
