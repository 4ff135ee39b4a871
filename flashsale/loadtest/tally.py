"""Counts of what simulated buyers saw. Tallies of several processes can be added."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class FleetTally:
    """One fleet's buyers per second: arrived, admitted, and refused by a limit."""

    offered: Counter[int] = field(default_factory=Counter)
    admitted: Counter[int] = field(default_factory=Counter)
    limited: Counter[int] = field(default_factory=Counter)


@dataclass(slots=True)
class Tally:
    """Counts per second since the start. ``latencies_ms``: by kind of request. ``late_ms``: maximal lateness of the client.

    For sign-ins: time from the first attempt, refusals by code, and the number of buyers who gave up.
    """

    offered: Counter[int] = field(default_factory=Counter)
    admitted: Counter[int] = field(default_factory=Counter)
    shed: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    server_errors: Counter[str] = field(default_factory=Counter)
    orders: list[str] = field(default_factory=list)
    latencies_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    fleets: dict[str, FleetTally] = field(default_factory=lambda: defaultdict(FleetTally))
    sign_ins_ms: list[float] = field(default_factory=list)
    sign_ins_refused: Counter[str] = field(default_factory=Counter)
    sign_ins_given_up: int = 0
    late_ms: float = 0.0
    cpu_s: float = 0.0

    def as_values(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "offered": dict(self.offered),
            "admitted": dict(self.admitted),
            "shed": {reason: dict(counts) for reason, counts in self.shed.items()},
            "server_errors": dict(self.server_errors),
            "orders": self.orders,
            "latencies_ms": {kind: [round(each, 2) for each in found] for kind, found in self.latencies_ms.items()},
            "fleets": {
                name: {"offered": dict(fleet.offered), "admitted": dict(fleet.admitted), "limited": dict(fleet.limited)}
                for name, fleet in self.fleets.items()
            },
            "sign_ins_ms": self.sign_ins_ms,
            "sign_ins_refused": dict(self.sign_ins_refused),
            "sign_ins_given_up": self.sign_ins_given_up,
            "late_ms": self.late_ms,
            "cpu_s": self.cpu_s,
        }

    def add(self, values: Mapping[str, Any]) -> None:
        """Add the result of another tally's ``as_values``, parsed from JSON."""
        self.offered += _seconds(values["offered"])
        self.admitted += _seconds(values["admitted"])
        for reason, counts in values["shed"].items():
            self.shed[reason] += _seconds(counts)
        self.server_errors += Counter(values["server_errors"])
        self.orders += values["orders"]
        for kind, found in values["latencies_ms"].items():
            self.latencies_ms[kind] += found
        for name, counts in values["fleets"].items():
            fleet = self.fleets[name]
            fleet.offered += _seconds(counts["offered"])
            fleet.admitted += _seconds(counts["admitted"])
            fleet.limited += _seconds(counts["limited"])
        self.sign_ins_ms += values["sign_ins_ms"]
        self.sign_ins_refused += Counter(values["sign_ins_refused"])
        self.sign_ins_given_up += values["sign_ins_given_up"]
        self.late_ms = max(self.late_ms, values["late_ms"])
        self.cpu_s += values["cpu_s"]


def _seconds(counts: Mapping[str, int]) -> Counter[int]:
    return Counter({int(second): count for second, count in counts.items()})
