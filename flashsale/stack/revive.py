"""Restart embedded servers that die while the stack runs. If that fails repeatedly, the stack ends and says why."""

import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress

from flashsale.stack.errors import StackError
from flashsale.stack.servers import Server

_LOOK_EVERY_S = 0.2
_PAUSE_S = 1.0  # after a failed start: the rest of a killed server needs a moment to go away
_MOST, _WITHIN_S = 5, 60.0
_FULL_BYTES = 16 * 1024 * 1024  # size of a segment of PostgreSQL's log


class Reviver:
    """``with Reviver(servers, say, give_up) as reviver:``; within the block every server that ends is restarted.

    A server that ends more than five times in a minute is not restarted. ``failure`` says why, and ``give_up`` is called.
    """

    def __init__(self, servers: Iterable[Server], say: Callable[[str], None], give_up: Callable[[], None]) -> None:
        """
        Args:
            servers: the running servers. Nothing else may start or stop them within the block.
            say: called with a message for the terminal.
            give_up: called once, from another thread.
        """
        self.failure = ""
        self._ended: dict[Server, deque[float]] = {server: deque(maxlen=_MOST) for server in servers}
        self._say, self._give_up = say, give_up
        self._stop = threading.Event()
        # The servers die with this thread, so it lives as long as the block.
        self._thread = threading.Thread(target=self._run, name="reviver", daemon=True)

    def __enter__(self) -> "Reviver":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_EVERY_S):
            for server in self._ended:
                if server.has_ended and not self._revive(server):
                    self._give_up()
                    self._stop.wait()  # otherwise restarted servers would end before the processes that use them
                    return

    def _revive(self, server: Server) -> bool:
        """Restart the server. Returns False if it has failed too often."""
        ended = self._ended[server]
        while not self._stop.is_set():
            if len(ended) == _MOST and time.monotonic() - ended[0] < _WITHIN_S:
                self.failure = f"{server.name} has ended {_MOST + 1} times within {_WITHIN_S:.0f} s: {_why(server)}"
                return False
            ended.append(time.monotonic())
            self._say(f"{server.name} has ended ({server.how_it_ended}); starting it again on its data")
            with suppress(StackError):  # its last message is in the log, and is shown when the stack gives up
                server.start()
                return True
            self._stop.wait(_PAUSE_S)
        return True


def _why(server: Server) -> str:
    is_full = shutil.disk_usage(server.folder).free < _FULL_BYTES
    return f"{'its disk is full; ' if is_full else ''}{server.last_words()} (see {server.log_path})"
