"""Loads with a known answer: what passes per second, by algorithm, at 100 units a second with a burst of 50."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from flashsale.ratelimit.algorithms.leaky_bucket import LeakyBucket
from flashsale.ratelimit.algorithms.sliding_log import SlidingLog
from flashsale.ratelimit.algorithms.token_bucket import TokenBucket
from flashsale.ratelimit.limit import SECOND_US, Algorithm

RATE, BURST, MAX_WAIT_US = 100, 50, 500_000

ALGORITHMS: dict[str, Algorithm] = {
    "token bucket": TokenBucket(RATE, SECOND_US, BURST),
    "leaky bucket": LeakyBucket(RATE, SECOND_US, MAX_WAIT_US),
    "sliding log": SlidingLog(RATE, SECOND_US),
}


@dataclass(frozen=True, slots=True)
class Shape:
    """``per_second``: arrivals in each second, evenly spread. ``passes``: algorithm -> what passes from ``since`` on."""

    name: str
    per_second: tuple[int, ...]
    passes: dict[str, tuple[int, ...]]
    since: int = 0

    def arrivals_us(self) -> Iterator[int]:
        """Microseconds after the start."""
        for second, count in enumerate(self.per_second):
            yield from (second * SECOND_US + number * SECOND_US // count for number in range(count))


SHAPES = (
    Shape(
        "constant 300/s",
        (300, 300, 300, 300),
        {"token bucket": (149, 100, 100, 100), "leaky bucket": (100, 100, 100, 100), "sliding log": (100, 100, 100, 100)},
    ),
    Shape(
        "one second of 1000/s inside 50/s",
        (50, 50, 1000, 50, 50, 50),
        {"token bucket": (149,), "leaky bucket": (100, 100, 50), "sliding log": (100, 50)},
        since=2,
    ),
    Shape(
        "square wave, 400/s",
        (400, 400, 0, 0),
        {"token bucket": (149, 100, 0, 0), "leaky bucket": (100, 100, 50, 0), "sliding log": (100, 100, 0, 0)},
    ),
)


@dataclass(slots=True)
class Outcome:
    """Microseconds after the start: when each request was offered, refused, and when it left. A request is ``queued`` that
    left later than it came."""

    offered: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    queued: list[int] = field(default_factory=list)
    passed: list[int] = field(default_factory=list)

    def add(self, at_us: int, wait_us: int | None) -> None:
        """One request; ``wait_us`` None when refused."""
        self.offered.append(at_us)
        if wait_us is None:
            self.refused.append(at_us)
            return
        if wait_us:
            self.queued.append(at_us)
        self.passed.append(at_us + wait_us)


def per_bin(times_us: list[int], bins: int, width_us: int = SECOND_US) -> list[int]:
    """How many times fall into each of the first ``bins`` bins."""
    counts = [0] * bins
    for time_us in times_us:
        if 0 <= time_us < bins * width_us:
            counts[time_us // width_us] += 1
    return counts


def most_in_any(times_us: list[int], window_us: int) -> int:
    """The most of them in any half-open window of this length."""
    ordered = sorted(times_us)
    most, first = 0, 0
    for last, time_us in enumerate(ordered):
        while ordered[first] <= time_us - window_us:
            first += 1
        most = max(most, last - first + 1)
    return most
