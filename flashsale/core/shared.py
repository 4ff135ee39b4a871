"""Values that concurrent callers share."""

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
_MOST = 1_000  # maximum number of keys; then all are dropped


class Shared(Generic[K, V]):
    """Calls ``look`` for a key at most once per ``known_for_s``. Concurrent callers wait for the result. Thread-safe."""

    def __init__(self, look: Callable[[K], V], *, known_for_s: float) -> None:
        self._look = look
        self._known_for_s = known_for_s
        self._lock = threading.Lock()
        self._found: dict[K, tuple[float, V]] = {}

    def get(self, key: K) -> V:
        """The value, at most ``known_for_s`` seconds old. Raises what ``look`` raises."""
        return self._known(key) or self._looked_up(key)

    def _known(self, key: K) -> V | None:
        found = self._found.get(key)
        return found[1] if found and time.monotonic() - found[0] < self._known_for_s else None

    def _looked_up(self, key: K) -> V:
        with self._lock:
            known = self._known(key)
            if known is not None:
                return known
            if len(self._found) >= _MOST:
                self._found = {}
            value = self._look(key)
            self._found[key] = time.monotonic(), value
            return value
