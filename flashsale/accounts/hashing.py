"""Limits concurrent password checks in this process. A check takes about half a second of CPU time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from flashsale.accounts.errors import SignInBusy

RETRY_AFTER_S = 2


class Seats:
    """A bounded number of seats with a bounded queue. Further callers are refused at once. Thread-safe."""

    def __init__(self, working: int, waiting: int, wait_s: float) -> None:
        """
        Args:
            working: number of seats.
            waiting: number of callers that may wait for a seat.
            wait_s: longest wait in seconds.
        """
        self._work = threading.BoundedSemaphore(working)
        self._free = working + waiting
        self._lock = threading.Lock()
        self._wait_s = wait_s

    @property
    def is_full(self) -> bool:
        """Whether the next caller would be refused."""
        return self._free <= 0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold a seat inside the context.

        Raises:
            SignInBusy: no seat became free in time; no password was checked.
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
