"""Token bucket: ``burst`` units at once, ``rate`` over time.

Implemented as the generic cell rate algorithm (ATM Forum Traffic Management 4.0, section 4.4.2): the state is one integer per
key, the theoretical arrival time (TAT), at which the bucket will be full again. No refill process is needed.

Drawback: up to ``burst + rate`` units pass in one second after an idle time, which the service behind it must handle.
"""

from dataclasses import dataclass
from typing import ClassVar

from flashsale.ratelimit.limit import ConfigurationError, Reading, State, interval_us, require_exact, require_fit

_COLD = 3  # factor by which a cold bucket is slower, as in Guava's SmoothWarmingUp
_LONGEST_WARM_UP_MS = 600_000


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """
    Args:
        count, period_us: the rate, ``count`` units per ``period_us`` microseconds.
        burst: units that an idle key may take at once.
            warm_up_ms: a key that was idle for this long starts at a third of rate and burst, and reaches their full values
                linearly in the same time; 0 for none.

        Raises:
            ConfigurationError: the values are not a valid limit.
    """

    count: int
    period_us: int
    burst: int
    warm_up_ms: int = 0
    code: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.burst < 1:
            raise ConfigurationError("the burst must be at least one unit")
        if not 0 <= self.warm_up_ms <= _LONGEST_WARM_UP_MS:
            raise ConfigurationError(f"the warm-up must be from 0 to {_LONGEST_WARM_UP_MS} ms")
        require_exact(self.burst * self.interval * max(1, _COLD * self.warm_up_ms))

    @property
    def interval(self) -> int:
        """Microseconds between two units."""
        return interval_us(self.count, self.period_us)

    @property
    def limit(self) -> int:
        return self.burst

    @property
    def window_us(self) -> int:
        return self.burst * self.interval

    def parameters(self) -> tuple[int, ...]:
        return (self.interval, self.burst * self.interval, self.warm_up_ms)

    def share(self, nodes: int) -> "TokenBucket":
        return TokenBucket(self.count, self.period_us * nodes, max(1, self.burst // nodes), self.warm_up_ms)

    @property
    def _depth(self) -> int:
        return self.burst * self.interval * (_COLD if self.warm_up_ms else 1)

    def mend(self, state: State, now_us: int) -> State:
        return (min(state[0], now_us + self._depth), *(min(since, now_us) for since in state[1:]))

    def decide(self, state: State | None, now_us: int, cost: int) -> tuple[Reading, State | None, int]:
        require_fit(cost, self.limit)
        step, tolerance = self.interval, self.burst * self.interval
        warm_us = self.warm_up_ms * 1000
        tat = now_us if state is None else state[0]
        since = now_us
        if warm_us:
            if state is not None and now_us - tat < warm_us:
                since = state[-1] if len(state) == 2 else now_us
            warmth = self.warm_up_ms + 2 * min((now_us - since) // 1000, self.warm_up_ms)
            step = step * _COLD * self.warm_up_ms // warmth
            tolerance = max(tolerance * warmth // (_COLD * self.warm_up_ms), step)
        debt = max(tat - now_us, 0)
        after = debt + step * cost
        room = max(tolerance, step * cost)
        if after > room:
            reading = Reading(False, 0, max(0, (tolerance - debt) // step), after - room, debt)
            return reading, None, 0
        reading = Reading(True, 0, max(0, (tolerance - after) // step), 0, after)
        kept = (now_us + after, since) if warm_us else (now_us + after,)
        return reading, kept, after + warm_us
