"""Sliding window counter: approximates the sliding log with two counters.

The count of the previous window is assumed to be evenly spread, and weighted by the part that the sliding window still covers
(the approximation of Cloudflare's "How we built rate limiting capable of scaling to millions of domains").

Drawback: real traffic is not evenly spread, so up to twice the limit can pass in a window across a boundary. The sub-window
bounds such bursts.
"""

from dataclasses import dataclass
from typing import ClassVar

from flashsale.ratelimit.algorithms.sliding_log import check_sub_window
from flashsale.ratelimit.limit import Reading, State, require_fit


@dataclass(frozen=True, slots=True)
class _Room:
    fits: int
    retry_us: int
    reset_us: int
    start: int
    current: int
    previous: int


def _room(state: State, now_us: int, cost: int, limit: int, window_us: int) -> _Room:
    start, current, previous = state
    begin = now_us - now_us % window_us
    if start == begin - window_us:
        current, previous = 0, current
    elif start < begin:
        current, previous = 0, 0
    elapsed = now_us - begin
    fits = max(0, ((limit - current) * window_us - previous * (window_us - elapsed)) // window_us)
    retry = 0
    if fits < cost:
        if current + cost <= limit:
            retry = window_us - (limit - current - cost) * window_us // previous - elapsed
        else:
            retry = window_us - elapsed + max(0, window_us - (limit - cost) * window_us // current)
    reset = 2 * window_us - elapsed if current else window_us - elapsed if previous else 0
    return _Room(fits, retry, reset, begin, current, previous)


@dataclass(frozen=True, slots=True)
class SlidingCounter:
    """
    Args:
        limit: approximate number of units in any ``window_us`` microseconds.
            sub_limit, sub_window_us: the same for a shorter window; 0 and 0 for none.

        Raises:
            ConfigurationError: the values are not a valid limit.
    """

    limit: int
    window_us: int
    sub_limit: int = 0
    sub_window_us: int = 0
    code: ClassVar[int] = 4

    def __post_init__(self) -> None:
        check_sub_window(self.limit, self.window_us, self.sub_limit, self.sub_window_us)

    def parameters(self) -> tuple[int, ...]:
        return (self.limit, self.window_us, self.sub_limit, self.sub_window_us)

    def share(self, nodes: int) -> "SlidingCounter":
        sub = max(1, self.sub_limit // nodes) if self.sub_limit else 0
        return SlidingCounter(max(1, self.limit // nodes), self.window_us, sub, self.sub_window_us)

    def mend(self, state: State, now_us: int) -> State:
        spans = (self.window_us, self.sub_window_us)
        return tuple(
            min(value, now_us - now_us % spans[index // 3]) if index % 3 == 0 else value for index, value in enumerate(state)
        )

    def decide(self, state: State | None, now_us: int, cost: int) -> tuple[Reading, State | None, int]:
        require_fit(cost, self.sub_limit or self.limit)
        known = state or ()
        spans = [(self.limit, self.window_us)] + ([(self.sub_limit, self.sub_window_us)] if self.sub_limit else [])
        rooms = [
            _room(known[3 * index : 3 * index + 3] or (0, 0, 0), now_us, cost, limit, window_us)
            for index, (limit, window_us) in enumerate(spans)
        ]
        fits = min(room.fits for room in rooms)
        retry = max(room.retry_us for room in rooms)
        if retry:
            return Reading(False, 0, fits, retry, rooms[0].reset_us), None, 0
        kept = tuple(value for room in rooms for value in (room.start, room.current + cost, room.previous))
        reset = 2 * self.window_us - now_us % self.window_us
        return Reading(True, 0, fits - cost, 0, reset), kept, reset
