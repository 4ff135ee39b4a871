"""``python -m flashsale.stack keep -- COMMAND``: run a process, start it again when it dies, end it when asked.

What the process had started ends with it.
The command runs in a session of its own, so a Ctrl-C reaches it once, through us, and not its children.
It ends as well when the launcher that ``LAUNCHER_PID`` names dies, however that dies: nobody else is left to end it.
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
_GRACE_S = 11.0  # under the 15 s that the whole stack has
_PAUSE_S = 1.0


def keep(command: Sequence[str]) -> int:
    """Returns the exit code for our own parent; only comes back when asked to stop."""
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
    """Whether that process has ended; never, where none is named."""
    if not pid:
        return lambda: False
    try:
        handle = os.pidfd_open(int(pid))  # stays that process's, whoever gets its number later
    except ProcessLookupError:
        return lambda: True
    return lambda: bool(select.select([handle], [], [], 0)[0])


def _tell_orphans(group: int, sign: signal.Signals) -> None:
    """What a process that was killed leaves behind would go on beside the next one, on the same port, for ever."""
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
