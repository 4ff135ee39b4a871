"""Memory of every process over time, and whether it is flat.

Flat means: of each process that lived long enough, the Theil-Sen slope of its anonymous memory after a warm-up is at most
``BOUND_MIB_PER_H``. That slope is the median of the slopes between all pairs of samples (Sen, 1968), so a few odd samples
do not move it. Anonymous memory (the kernel's RssAnon), because files and PostgreSQL's shared buffers are nobody's leak; and
not the unique set, because a forked process copies its parent's pages one by one as it writes to them, which looks like one.
A young process grows while it meets each of its ways for the first time: up to ``WARMING_MIB`` in all is no leak, however
steep. From 15 minutes on, which is what those live that no fault ends, the slope alone decides.
"""

import statistics
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import psutil

BOUND_MIB_PER_H = 32.0
WARMING_MIB = 8.0
_MIB = 1024 * 1024
_WARM_UP_S = 120.0
_LIVED_S = 180.0  # after the warm-up; who died younger says nothing about an hour
_MOST_SAMPLES = 200

Series = list[tuple[float, float]]  # seconds, MiB


def slope(series: Sequence[tuple[float, float]]) -> float:
    """Theil-Sen: the median slope over all pairs of samples; 0 for fewer than two."""
    step = max(1, len(series) // _MOST_SAMPLES)
    pairs = combinations(series[::step], 2)
    slopes = [(b - a) / (t - s) for (s, a), (t, b) in pairs if t > s]
    return statistics.median(slopes) if slopes else 0.0


@dataclass(frozen=True, slots=True)
class Growth:
    """One process: how long it was watched after its warm-up, its slope and its highest sample."""

    name: str
    pid: int
    seconds: float
    mib_per_h: float
    peak_mib: float

    @property
    def is_flat(self) -> bool:
        """Within the bound, or too little in all to tell."""
        return self.mib_per_h <= BOUND_MIB_PER_H or self.mib_per_h * self.seconds / 3600 <= WARMING_MIB


class Sampler:
    """``with Sampler(cluster.everybody, every_s) as sampler``: samples in a thread until the end of the block."""

    def __init__(self, everybody: Callable[[], Iterable[tuple[str, psutil.Process]]], every_s: float) -> None:
        self._everybody = everybody
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)
        self.series: dict[tuple[str, int], Series] = defaultdict(list)

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        clock = 0.0
        while not self._over.wait(self._every_s):
            clock += self._every_s
            try:
                for name, process in self._everybody():
                    self._sample(clock, name, process)
            except psutil.NoSuchProcess:
                continue  # one ended while we looked

    def _sample(self, clock: float, name: str, process: psutil.Process) -> None:
        try:
            memory = process.memory_info()
            self.series[name, process.pid].append((clock, (memory.rss - memory.shared) / _MIB))
        except psutil.NoSuchProcess:
            return

    def growth(self) -> list[Growth]:
        """Of every process that lived long enough, the steepest first."""
        found = []
        for (name, pid), series in self.series.items():
            warm = [sample for sample in series if sample[0] - series[0][0] >= _WARM_UP_S]
            if warm and warm[-1][0] - warm[0][0] >= _LIVED_S:
                peak = max(size for _, size in series)
                found.append(Growth(name, pid, warm[-1][0] - warm[0][0], 3600 * slope(warm), peak))
        return sorted(found, key=lambda growth: -growth.mib_per_h)
