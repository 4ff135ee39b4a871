"""Background work that requests trigger."""

import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)


class Keeper:
    """Runs ``work`` in a background thread on request. Requests during a run share the next one. Thread-safe."""

    def __init__(self, work: Callable[[], None], *, wait_s: float) -> None:
        """
        Args:
            work: may run any number of times; exceptions are logged.
            wait_s: how long callers wait for a running ``work``, in seconds after its start.
        """
        self._work = work
        self._wait_s = wait_s
        self._changed = threading.Condition()
        self._asked = self._done = 0
        self._began: float | None = None
        threading.Thread(target=self._run, daemon=True, name="keeper").start()

    def ask(self, *, wait: bool = True) -> None:
        """Request a run. With ``wait``, returns when it is done or after ``wait_s``."""
        with self._changed:
            wanted = self._done + 1
            self._asked = max(self._asked, wanted)
            self._changed.notify_all()
            if not wait:
                return
            began = time.monotonic() if self._began is None else self._began
            self._changed.wait_for(lambda: self._done >= wanted, timeout=max(0.0, began + self._wait_s - time.monotonic()))

    @property
    def is_slow(self) -> bool:
        """Whether the work takes so long just now that nobody would wait for its end."""
        began = self._began
        return began is not None and time.monotonic() - began >= self._wait_s

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._asked > self._done)
                self._began = time.monotonic()
            try:
                self._work()
            except Exception as error:
                # Let the next request start a new run.
                logger.exception("background work failed", extra={"event": "keeper_failed", "error": repr(error)})
            with self._changed:
                self._done, self._began = self._done + 1, None
                self._changed.notify_all()
