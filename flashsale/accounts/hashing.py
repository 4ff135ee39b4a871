"""How many passwords this process checks at once. A check takes about half a second of a core, whatever the answer."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from flashsale.accounts.errors import SignInBusy

RETRY_AFTER_S = 2


class Seats:
    """A few may work, a few may wait for a moment, everybody else is refused at once. Thread-safe."""

    def __init__(self, working: int, waiting: int, wait_s: float) -> None:
        """
        Args:
            working: how many at once.
            waiting: how many may wait for their turn.
            wait_s: for how long, in seconds.
        """
        self._work = threading.BoundedSemaphore(working)
        self._free = working + waiting
        self._lock = threading.Lock()
        self._wait_s = wait_s

    @property
    def is_full(self) -> bool:
        """Whether whoever comes now is refused."""
        return self._free <= 0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """
        Raises:
            SignInBusy: no seat became free in time; no password was looked at.
        """
        self._enter()
        try:
            if not self._work.acquire(timeout=self._wait_s):
                raise SignInBusy(retry_after=RETRY_AFTER_S)
            try:
                yield
            finally:
                self._work.release()
        finally:
            with self._lock:
                self._free += 1

    def _enter(self) -> None:
        with self._lock:
            if self.is_full:
                raise SignInBusy(retry_after=RETRY_AFTER_S)
            self._free -= 1


seats = Seats(settings.SIGN_IN_HASHERS, settings.SIGN_IN_WAITERS, settings.SIGN_IN_WAIT_S)
