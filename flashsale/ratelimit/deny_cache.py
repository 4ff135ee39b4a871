"""What this process knows to be refused: a hammered key costs no round trip until it may be asked again."""

import time
from collections.abc import Callable

_MOST_KEYS = 50_000


class DenyCache:
    """key -> the cost that was refused, and until when. Bounded; a race between threads costs at most a round trip."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._denied: dict[str, tuple[float, int]] = {}

    def deny(self, key: str, cost: int, retry_after_us: int) -> None:
        """Remember a refusal."""
        if len(self._denied) >= _MOST_KEYS:
            self._denied = {}
        self._denied[key] = (self._clock() + retry_after_us / 1_000_000, cost)

    def retry_after_us(self, key: str, cost: int) -> int:
        """Microseconds that this cost will still be refused for; 0 when it has to be asked."""
        known = self._denied.get(key)
        if known is None or cost < known[1]:
            return 0
        left = known[0] - self._clock()
        if left <= 0:
            self._denied.pop(key, None)
            return 0
        return int(left * 1_000_000)

    def forget(self) -> None:
        """Forget everything: the rules have changed, or a key was reset."""
        self._denied = {}
