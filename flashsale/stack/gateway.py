"""``python -m flashsale.stack gateway -- CONFIG ADMIN_SOCKET``: run Envoy and drain it before it ends."""

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

_OTHER_FILES = 2_000  # for connections to the shop, and logs
_DRAIN_S = 6.0  # below the grace period of a kept process


def envoy_binary() -> Path:
    """Find the binary by its path, because another package of the same name may hide this one."""
    return package_folder("envoy") / "_bin" / "envoy"


def gateway(arguments: Sequence[str]) -> int:
    """Run Envoy until SIGTERM or SIGINT. It then refuses new connections and finishes the requests in progress.

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
    """Raise the limit of open files to what the connections need, if allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_FILES
    if hard != resource.RLIM_INFINITY and hard < wanted:
        sys.stderr.write(f"gateway: only {hard} open files are allowed; GATEWAY_CONNECTIONS={connections} needs {wanted}\n")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _drain(admin: str) -> None:
    deadline = time.monotonic() + _DRAIN_S
    try:
        # Responses first ask clients to close. Then new connections are refused.
        for command in ("healthcheck/fail", "drain_listeners"):
            envoy_admin.ask(admin, f"/{command}", method="POST")
        while time.monotonic() < deadline and _requests_under_way(admin):
            time.sleep(0.05)
    except (OSError, ValueError):
        pass  # it ends anyway


def _requests_under_way(admin: str) -> int:
    return int(envoy_admin.ask(admin, "/stats?filter=^http.public.downstream_rq_active$").rpartition(b":")[2] or 0)
