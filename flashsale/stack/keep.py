"""``python -m flashsale.stack keep -- COMMAND``: run a process, restart it when it dies, stop it when asked.

Its child processes end with it. The command runs in its own session, so Ctrl-C reaches it once, through this process, and does
not reach its children. It also ends when the launcher with the id ``LAUNCHER_PID`` dies in any way.
"""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType

from flashsale.stack.servers import with_parent

LAUNCHER_PID = "FLASHSALE_LAUNCHER_PID"
_GRACE_S = 11.0  # below the 15 s of the whole stack
_PAUSE_S = 1.0


def keep(command: Sequence[str]) -> int:
    """Run until asked to stop. Returns the exit code for the parent."""
    stopping = False
    child: subprocess.Popen[bytes] | None = None

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        if child is not None and child.poll() is None:
            child.terminate()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    is_alone = _launcher_watch(os.environ.pop(LAUNCHER_PID, ""))

    def is_over() -> bool:
        return stopping or is_alone()

    while not is_over():
        child = subprocess.Popen(
            command,
            start_new_session=True,
            preexec_fn=with_parent(os.getpid(), signal.SIGTERM),
        )
        code = _wait(child, is_over)
        _tell_orphans(child.pid, signal.SIGTERM)
        if not is_over():
            sys.stderr.write(f"{command[0]} ended with {code}; starting it again\n")
            time.sleep(_PAUSE_S)
        _tell_orphans(child.pid, signal.SIGKILL)
    return 0


def _launcher_watch(pid: str) -> Callable[[], bool]:
    """Whether this process has ended. False if none is given."""
    if not pid:
        return lambda: False
    try:
        handle = os.pidfd_open(int(pid))  # refers to this process even if its id is reused
    except ProcessLookupError:
        return lambda: True
    return lambda: bool(select.select([handle], [], [], 0)[0])


def _tell_orphans(group: int, sign: signal.Signals) -> None:
    """Kill the remaining children, which would otherwise keep running beside the next process, on the same port."""
    with suppress(ProcessLookupError):
        os.killpg(group, sign)


def _wait(child: "subprocess.Popen[bytes]", is_stopping: Callable[[], bool]) -> int:
    deadline: float | None = None
    while True:
        try:
            return child.wait(0.2)
        except subprocess.TimeoutExpired:
            if not is_stopping():
                continue
            if deadline is None:
                child.terminate()
                deadline = time.monotonic() + _GRACE_S
            elif time.monotonic() > deadline:
                child.kill()
