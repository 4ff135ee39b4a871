"""Sliding window log: at most ``limit`` units in any window.

The log stores the time of every unit that passed, newest first.

Drawback: memory and work grow with ``limit`` (about 10 bytes per unit in Redis), and all units may pass in one burst at the
start of a window. The sub-window bounds that burst.
"""

from dataclasses import dataclass
from typing import ClassVar

from flashsale.ratelimit.limit import ConfigurationError, Reading, State, require_exact, require_fit

LARGEST_LOG = 5_000  # bounded by Lua's stack and by how long a script may block the server


def check_sub_window(limit: int, window_us: int, sub_limit: int, sub_window_us: int) -> None:
    """
    Raises:
        ConfigurationError: window and sub-window do not fit together.
    """
    if limit < 1 or window_us < 1:
        raise ConfigurationError("a window must have at least one unit and one microsecond")
    if bool(sub_limit) != bool(sub_window_us):
        raise ConfigurationError("a sub-window must have both a limit and a length, or neither")
    if sub_limit and not (0 < sub_limit <= limit and 0 < sub_window_us < window_us):
        raise ConfigurationError("a sub-window must be shorter than its window and must not have a higher limit")
    require_exact(limit * window_us)


@dataclass(frozen=True, slots=True)
class SlidingLog:
    """
    Args:
        limit: units in any ``window_us`` microseconds.
            sub_limit, sub_window_us: the same for a shorter window; 0 and 0 for none.

        Raises:
            ConfigurationError: the values are not a valid limit, or the log would be longer than 5,000 entries.
    """

    limit: int
    window_us: int
    sub_limit: int = 0
    sub_window_us: int = 0
    code: ClassVar[int] = 3

    def __post_init__(self) -> None:
        check_sub_window(self.limit, self.window_us, self.sub_limit, self.sub_window_us)
        if self.limit > LARGEST_LOG:
            raise ConfigurationError(f"a log can have at most {LARGEST_LOG} units; use a sliding counter")

    def parameters(self) -> tuple[int, ...]:
        return (self.limit, self.window_us, self.sub_limit, self.sub_window_us)

    def share(self, nodes: int) -> "SlidingLog":
        sub = max(1, self.sub_limit // nodes) if self.sub_limit else 0
        return SlidingLog(max(1, self.limit // nodes), self.window_us, sub, self.sub_window_us)

    def mend(self, state: State, now_us: int) -> State:
        return tuple(min(entry, now_us) for entry in state if entry > now_us - self.window_us)

    def decide(self, state: State | None, now_us: int, cost: int) -> tuple[Reading, State | None, int]:
        require_fit(cost, self.sub_limit or self.limit)
        log = list(state or ())
        fits, retry = self._room(log, now_us, cost, self.limit, self.window_us)
        if self.sub_limit:
            sub_fits, sub_retry = self._room(log, now_us, cost, self.sub_limit, self.sub_window_us)
            fits, retry = min(fits, sub_fits), max(retry, sub_retry)
        if retry:
            return Reading(False, 0, fits, retry, log[0] + self.window_us - now_us), None, 0
        return Reading(True, 0, fits - cost, 0, self.window_us), (now_us,) * cost + tuple(log), self.window_us

    @staticmethod
    def _room(log: list[int], now_us: int, cost: int, limit: int, window_us: int) -> tuple[int, int]:
        live = sum(entry > now_us - window_us for entry in log)
        if live + cost <= limit:
            return limit - live, 0
        return max(0, limit - live), log[limit - cost] + window_us - now_us
