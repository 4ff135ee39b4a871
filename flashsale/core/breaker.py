"""A circuit breaker (Nygard, "Release It!"): stops asking what does not answer, and asks again with one probe."""

import threading
import time
from collections.abc import Callable
from typing import Literal


class CircuitBreaker:
    """Closed: everybody asks. Open: nobody does. Half-open: one probe does, and decides. Thread-safe."""

    def __init__(self, *, failures: int = 3, open_s: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Args:
            failures: in a row, which open it.
            open_s: seconds from opening to the probe.
        """
        self._threshold = failures
        self._open_s = open_s
        self._clock = clock
        self._lock = threading.Lock()
        # Written under the lock alone; whoever reads without it reads each of them once.
        self._failures = 0
        self._probe_at: float | None = None

    @property
    def state(self) -> Literal["closed", "open", "half-open"]:
        """As it stands now."""
        probe_at = self._probe_at
        if probe_at is None:
            return "closed"
        return "open" if self._clock() < probe_at else "half-open"

    def retry_after_s(self) -> float:
        """Seconds until the next probe, 0 when closed."""
        probe_at = self._probe_at
        return 0.0 if probe_at is None else max(0.0, probe_at - self._clock())

    def may_ask(self) -> bool:
        """Whether this caller may ask; the one that is let through half-open is the probe and must report back."""
        if self.state == "closed":
            return True
        with self._lock:
            if self._probe_at is None:  # closed meanwhile: nobody probes, so nobody opens it
                return True
            if self._clock() < self._probe_at:
                return False
            # A probe that never reports back, because its thread died, is followed by another.
            self._probe_at = self._clock() + self._open_s
            return True

    def succeeded(self) -> None:
        """The caller got an answer."""
        if self._failures or self._probe_at is not None:
            with self._lock:
                self._failures, self._probe_at = 0, None

    def failed(self) -> None:
        """The caller got none."""
        with self._lock:
            self._failures += 1
            if self._probe_at is not None or self._failures >= self._threshold:
                self._probe_at = self._clock() + self._open_s
