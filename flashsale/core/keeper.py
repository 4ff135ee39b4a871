"""Work that requests ask for and do not wait for: a thread does it beside them."""

import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)


class Keeper:
    """Does ``work`` whenever it is asked to, once for all who ask meanwhile. Thread-safe."""

    def __init__(self, work: Callable[[], None], *, wait_s: float) -> None:
        """
        Args:
            work: may run any number of times; what it raises is logged.
            wait_s: seconds after its beginning for which others wait for its end.
        """
        self._work = work
        self._wait_s = wait_s
        self._changed = threading.Condition()
        self._asked = self._done = 0
        self._began: float | None = None
        threading.Thread(target=self._run, daemon=True, name="keeper").start()

    def ask(self, *, wait: bool = True) -> None:
        """Have it done; with ``wait`` returns once it is, or when it takes long."""
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
                # The next one who asks finds somebody at work again.
                logger.exception("work beside the requests failed", extra={"event": "keeper_failed", "error": repr(error)})
            with self._changed:
                self._done, self._began = self._done + 1, None
                self._changed.notify_all()
