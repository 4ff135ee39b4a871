"""Leaky bucket as a queue: units pass at an even pace, each in the slot that it reserved.

The state is one integer per key, the next free slot (the "virtual scheduling" form in ITU-T I.371, annex A). A request gets
the time it has to wait. Requests are served in order of arrival.

Drawback: it delays requests even if the service behind it is idle, because two units never pass within one interval.
"""

from dataclasses import dataclass
from typing import ClassVar

from flashsale.ratelimit.limit import ConfigurationError, Reading, State, interval_us, require_exact, require_fit


@dataclass(frozen=True, slots=True)
class LeakyBucket:
    """
    Args:
        count, period_us: the rate, ``count`` units per ``period_us`` microseconds.
            max_wait_us: longest wait; a request that would wait longer is refused. With 0 it only enforces the interval.

        A cost of n reserves n consecutive slots. The request passes in the first of them.

        Raises:
            ConfigurationError: the values are not a valid limit.
    """

    count: int
    period_us: int
    max_wait_us: int
    code: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if self.max_wait_us < 0:
            raise ConfigurationError("the longest wait must not be negative")
        require_exact(self.max_wait_us + self.interval)

    @property
    def interval(self) -> int:
        """Microseconds between two units."""
        return interval_us(self.count, self.period_us)

    @property
    def limit(self) -> int:
        return self.max_wait_us // self.interval + 1

    @property
    def window_us(self) -> int:
        return self.limit * self.interval

    def parameters(self) -> tuple[int, ...]:
        return (self.interval, self.max_wait_us)

    def share(self, nodes: int) -> "LeakyBucket":
        return LeakyBucket(self.count, self.period_us * nodes, self.max_wait_us)

    def mend(self, state: State, now_us: int) -> State:
        return (min(state[0], now_us + self.max_wait_us + self.interval),)

    def decide(self, state: State | None, now_us: int, cost: int) -> tuple[Reading, State | None, int]:
        require_fit(cost, self.limit)
        interval = self.interval
        wait = max((state[0] if state else now_us) - now_us, 0)
        last = wait + (cost - 1) * interval
        fits = (self.max_wait_us - wait) // interval + 1 if wait <= self.max_wait_us else 0
        if last > self.max_wait_us:
            return Reading(False, 0, fits, last - self.max_wait_us, wait), None, 0
        return Reading(True, wait, fits - cost, 0, last + interval), (now_us + last + interval,), last + interval
