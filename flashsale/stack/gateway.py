"""``python -m flashsale.stack gateway -- CONFIG ADMIN_SOCKET``: Envoy, drained before it ends."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from flashsale.gateway import envoy_admin
from flashsale.stack.servers import package_folder, with_parent

_OTHER_FILES = 2_000  # connections to the shop, logs
_DRAIN_S = 6.0  # under the grace that a kept process has


def envoy_binary() -> Path:
    """Found by its place: the protocol's messages come in a package of the same name, which may hide this one."""
    return package_folder("envoy") / "_bin" / "envoy"


def gateway(arguments: Sequence[str]) -> int:
    """Run Envoy until SIGTERM or SIGINT; it then takes no new connections and finishes what is under way.

    Args:
        arguments: the path of the configuration, and the Unix socket of Envoy's own interface.
    """
    configuration, admin = arguments
    binary = envoy_binary()
    _allow_open_files(_connections_in(json.loads(Path(configuration).read_text(encoding="utf-8"))))
    envoy = subprocess.Popen(
        [binary, "-c", configuration, "--log-level", "warning", "--disable-hot-restart"],
        start_new_session=True,
        preexec_fn=with_parent(os.getpid(), signal.SIGTERM),
    )

    def stop(_signal: int, _frame: FrameType | None) -> None:
        _drain(admin)
        envoy.terminate()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    code = envoy.wait()
    return code if code >= 0 else 128 - code


def _connections_in(configuration: dict[str, Any]) -> int:
    limits = (monitor["typed_config"] for monitor in configuration["overload_manager"]["resource_monitors"])
    return max(int(limit.get("max_active_downstream_connections", 0)) for limit in limits)


def _allow_open_files(connections: int) -> None:
    """As many as the connections need, if we may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_FILES
    if hard != resource.RLIM_INFINITY and hard < wanted:
        sys.stderr.write(f"gateway: only {hard} open files are allowed; GATEWAY_CONNECTIONS={connections} needs {wanted}\n")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _drain(admin: str) -> None:
    deadline = time.monotonic() + _DRAIN_S
    try:
        # Answers ask clients to close; then no new connections.
        for command in ("healthcheck/fail", "drain_listeners"):
            envoy_admin.ask(admin, f"/{command}", method="POST")
        while time.monotonic() < deadline and _requests_under_way(admin):
            time.sleep(0.05)
    except (OSError, ValueError):
        pass  # it ends all the same


def _requests_under_way(admin: str) -> int:
    return int(envoy_admin.ask(admin, "/stats?filter=^http.public.downstream_rq_active$").rpartition(b":")[2] or 0)
