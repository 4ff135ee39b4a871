"""``python -m flashsale.stack keep -- COMMAND``: run a process, start it again when it dies, end it when asked.

What the process had started ends with it.

The command runs in a session of its own, so a Ctrl-C reaches it once, through us, and not its children.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType

from flashsale.stack.servers import with_parent

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
    while not stopping:
        child = subprocess.Popen(
            command,
            start_new_session=True,
            preexec_fn=with_parent(os.getpid(), signal.SIGTERM),
        )
        code = _wait(child, lambda: stopping)
        _tell_orphans(child.pid, signal.SIGTERM)
        if not stopping:
            sys.stderr.write(f"{command[0]} ended with {code}; starting it again\n")
            time.sleep(_PAUSE_S)
        _tell_orphans(child.pid, signal.SIGKILL)
    return 0


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
