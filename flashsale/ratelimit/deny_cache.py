"""Refusals that this process remembers, so that an over-used key costs no round trip until it may pass again."""

import time
from collections.abc import Callable

_MOST_KEYS = 50_000


class DenyCache:
    """Key -> refused cost and end of the refusal. Bounded. A race between threads costs at most a round trip."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._denied: dict[str, tuple[float, int]] = {}

    def deny(self, key: str, cost: int, retry_after_us: int) -> None:
        """Store a refusal."""
        if len(self._denied) >= _MOST_KEYS:
            self._denied = {}
        self._denied[key] = (self._clock() + retry_after_us / 1_000_000, cost)

    def retry_after_us(self, key: str, cost: int) -> int:
        """Microseconds for which this cost will still be refused; 0 if the store must be asked."""
        known = self._denied.get(key)
        if known is None or cost < known[1]:
            return 0
        left = known[0] - self._clock()
        if left <= 0:
            self._denied.pop(key, None)
            return 0
        return int(left * 1_000_000)

    def forget(self) -> None:
        """Clear the cache after a change of the rules or a reset of a key."""
        self._denied = {}
