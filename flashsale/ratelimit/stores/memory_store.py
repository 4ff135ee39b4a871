"""Limits in memory: the reference for tests of the Lua scripts, and the local share while Redis is down."""

import threading
import time
from collections.abc import Callable

from flashsale.ratelimit.limit import Check, Mode, Reading, State, Verdict

_MOST_KEYS = 100_000


def _clock_us() -> int:
    return time.time_ns() // 1000


class MemoryStore:
    """A :class:`~flashsale.ratelimit.limit.Store` for one process. Thread-safe, bounded to 100,000 keys."""

    def __init__(self, clock_us: Callable[[], int] = _clock_us) -> None:
        self._clock_us = clock_us
        self._states: dict[str, tuple[State, int]] = {}
        self._lock = threading.Lock()

    def decide(self, checks: list[Check], cost: int = 1, *, mode: Mode = "take") -> Verdict:
        with self._lock:
            now_us = self._clock_us()
            decided = [self._decide(check, now_us, cost) for check in checks]
            granted = cost if self._passes(checks, decided) else 0
            if not granted and mode in ("fill", "now"):
                granted = min(
                    reading.remaining
                    for check, (reading, _, _) in zip(checks, decided, strict=True)
                    if check.binding and not reading.passed
                )
                # If no unit fits, report when one unit will.
                decided = [self._decide(check, now_us, granted or 1) for check in checks]
            if mode == "now" and any(
                reading.wait_us for check, (reading, _, _) in zip(checks, decided, strict=True) if check.binding
            ):
                granted = 0
            if granted and mode != "peek":
                for check, (_, state, keep_us) in zip(checks, decided, strict=True):
                    if state is not None:
                        self._keep(check.key, state, now_us, now_us + keep_us)
            return Verdict(granted, now_us, tuple(reading for reading, _, _ in decided))

    def _decide(self, check: Check, now_us: int, cost: int) -> tuple[Reading, State | None, int]:
        state, until_us = self._states.get(check.key, (None, 0))
        if state is not None:
            state = check.algorithm.mend(state, now_us)
            self._states[check.key] = (state, until_us)
        return check.algorithm.decide(state, now_us, cost)

    @staticmethod
    def _passes(checks: list[Check], decided: list[tuple[Reading, State | None, int]]) -> bool:
        return all(reading.passed or not check.binding for check, (reading, _, _) in zip(checks, decided, strict=True))

    def _keep(self, key: str, state: State, now_us: int, until_us: int) -> None:
        if key not in self._states and len(self._states) >= _MOST_KEYS:
            self._states = {key: kept for key, kept in self._states.items() if kept[1] > now_us}
            while len(self._states) >= _MOST_KEYS:
                del self._states[next(iter(self._states))]
        self._states[key] = (state, until_us)

    def give_back(self, check: Check, end_us: int, units: int) -> bool:
        interval = check.algorithm.parameters()[0]
        with self._lock:
            state, until_us = self._states.get(check.key, ((0,), 0))
            if state != (end_us,):
                return False
            self._states[check.key] = ((end_us - units * interval,), until_us)
            return True

    def reset(self, key: str) -> None:
        with self._lock:
            self._states.pop(key, None)
