"""A circuit breaker (Nygard, "Release It!"): stops calling a service that fails, and retries with a single probe."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

State = Literal["closed", "open", "half-open"]
_PARTS = 10  # of a window


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """When a breaker opens, and for how long. A value of 0 turns off ``failures`` or a ratio.

    Args:
        failures: number of consecutive failures that opens the breaker.
        error_ratio: share of failed calls in the window, 0 to 1, that opens it.
        slow_ratio: share of calls in the window, 0 to 1, that took ``slow_s`` seconds or longer.
        window_s: length of the window in seconds.
        min_calls: minimum number of calls in the window before the ratios apply.
        open_s: seconds from opening to the first probe.
        probes: number of calls that pass in the half-open state. If all succeed the breaker closes; one failure opens it.
    """

    failures: int = 3
    error_ratio: float = 0.0
    slow_ratio: float = 0.0
    slow_s: float = 1.0
    window_s: float = 30.0
    min_calls: int = 20
    open_s: float = 1.0
    probes: int = 1


@dataclass(slots=True)
class _Part:
    """The calls in a tenth of the window."""

    begins: float
    calls: int = 0
    errors: int = 0
    slow: int = 0


class CircuitBreaker:
    """Closed: all calls pass. Open: no call passes. Half-open: a number of probes pass and decide. Thread-safe."""

    def __init__(
        self,
        *,
        failures: int = 3,
        open_s: float = 1.0,
        limits: BreakerLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
        on_change: Callable[[State], None] = lambda state: None,
    ) -> None:
        """
        Args:
            failures, open_s: settings of a breaker that counts consecutive failures only.
                limits: the full settings instead; may be replaced at any time.
                on_change: called with each new state, in the thread that caused the change.
        """
        self.limits = limits or BreakerLimits(failures=failures, open_s=open_s)
        self._clock = clock
        self._on_change = on_change
        self._lock = threading.Lock()
        # Written only under the lock. Code that reads without the lock must read each value once.
        self._failures = 0
        self._probe_at: float | None = None
        self._probes = self._good_probes = 0
        self._probing_until = 0.0
        self._parts: deque[_Part] = deque()

    @property
    def state(self) -> State:
        """The current state."""
        probe_at = self._probe_at
        if probe_at is None:
            return "closed"
        return "open" if self._clock() < probe_at else "half-open"

    def retry_after_s(self) -> float:
        """Seconds until the next probe; 0 if closed."""
        probe_at = self._probe_at
        return 0.0 if probe_at is None else max(0.0, probe_at - self._clock())

    def may_ask(self) -> bool:
        """Whether the caller may call the service. In the half-open state the caller is a probe and must report the result."""
        if self.state == "closed":
            return True
        with self._lock:
            if self._probe_at is None:  # closed in the meantime
                return True
            moment = self._clock()
            if moment < self._probe_at:
                return False
            if (
                moment >= self._probing_until
            ):  # the first probe, or earlier probes never reported, for example because their threads died
                self._probes = self._good_probes = 0
                self._probing_until = moment + self.limits.open_s
            self._probes += 1
            if self._probes == 1:
                self._on_change("half-open")
            if self._probes >= self.limits.probes:
                self._probe_at = self._probing_until
            return True

    def succeeded(self, took_s: float = 0.0) -> None:
        """Report a successful call that took this many seconds."""
        limits = self.limits
        is_slow = bool(limits.slow_ratio) and took_s >= limits.slow_s
        if not (self._failures or self._probe_at is not None or limits.error_ratio or limits.slow_ratio):
            return
        with self._lock:
            self._failures = 0
            if self._probe_at is None:
                self._note(is_error=False, is_slow=is_slow)
            elif not self._probes and (limits.error_ratio or limits.slow_ratio):
                pass  # an answer to a call from before the opening
            elif is_slow:
                self._open()
            else:
                self._good_probes += 1
                if self._good_probes >= limits.probes:
                    self._close()

    def failed(self) -> None:
        """Report a failed call."""
        with self._lock:
            self._failures += 1
            if self._probe_at is not None or 0 < self.limits.failures <= self._failures:
                self._open()
            else:
                self._note(is_error=True, is_slow=False)

    def _note(self, *, is_error: bool, is_slow: bool) -> None:
        limits, moment = self.limits, self._clock()
        if not (limits.error_ratio or limits.slow_ratio):
            return
        if not self._parts or moment - self._parts[-1].begins >= limits.window_s / _PARTS:
            self._parts.append(_Part(moment))
        while self._parts[0].begins <= moment - limits.window_s:
            self._parts.popleft()
        part = self._parts[-1]
        part.calls, part.errors, part.slow = part.calls + 1, part.errors + is_error, part.slow + is_slow
        calls = sum(each.calls for each in self._parts)
        if calls < limits.min_calls:
            return
        errors, slow = sum(each.errors for each in self._parts), sum(each.slow for each in self._parts)
        is_over = limits.error_ratio and errors >= limits.error_ratio * calls
        if is_over or (limits.slow_ratio and slow >= limits.slow_ratio * calls):
            self._open()

    def _open(self) -> None:
        was_open = self._probe_at is not None and not self._probes
        self._probe_at = self._clock() + self.limits.open_s
        self._probing_until = 0.0
        self._probes = 0
        self._parts.clear()
        if not was_open:
            self._on_change("open")

    def _close(self) -> None:
        self._probe_at = None
        self._failures = self._probes = 0
        self._parts.clear()
        self._on_change("closed")
