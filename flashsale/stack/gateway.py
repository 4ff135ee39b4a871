"""``python -m flashsale.stack gateway -- CONFIG ADMIN_SOCKET``: Envoy, drained before it ends."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from flashsale.gateway import envoy_admin
from flashsale.stack.servers import package_folder, with_parent

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
