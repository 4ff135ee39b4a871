"""What goes wrong, when, and for how long: a plan made of a seed. The same seed makes the same plan, anywhere.

No fault steps a clock: the scripts take Redis's own TIME and the ledger PostgreSQL's now(), so no process of the stack has a
clock of its own to step. Where ``now`` is passed in (the limiters' models), their tests step it.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# Each is kept running and started again when it dies; "/child": one of what it has forked.
PROCESSES = (
    "web-1",
    "web-1/child",
    "web-2",
    "web-2/child",
    "intake",
    "intake/child",
    "settle-1",
    "settle-1/child",
    "settle-2",
    "settle-2/child",
    "payments",
    "payments/child",
    "beat",
    "sweeper",
    "gateway",
    "gateway/child",
    "ratelimit",
    "publisher",
    "signin",
    "staff",
    "newer-worker",
    "newer-worker/child",
    "newer-sweeper",
)
GATE, BROKER, POSTGRESQL = SERVERS = ("gate", "broker", "postgresql")
BACKEND = "postgresql/child"


@dataclass(frozen=True, slots=True)
class Kind:
    """A way to go wrong. ``shortest`` and ``longest`` in seconds; ``amounts``: from, to, in ``unit``."""

    targets: tuple[str, ...]
    shortest: float
    longest: float
    says: str
    amounts: tuple[float, float] = (0, 0)
    unit: str = ""


KINDS = {
    "kill": Kind((*PROCESSES, BACKEND), 0, 0, "SIGKILL"),
    "pause": Kind((*PROCESSES, *SERVERS, BACKEND), 0.5, 7, "SIGSTOP, then SIGCONT"),
    "crash": Kind(SERVERS, 0.2, 4, "SIGKILL, started again on its data"),
    "outage": Kind(SERVERS, 45, 60, "SIGKILL, and away for a minute"),
    "restart": Kind(SERVERS, 0.1, 1, "clean stop, started again"),
    "lose": Kind((BROKER,), 0.2, 2, "SIGKILL, started again without its data"),
    "lose-gate": Kind((GATE,), 0.2, 2, "SIGKILL, started again without its data"),
    "fill": Kind((GATE, BROKER), 0.5, 4, "disk full"),
    "poison": Kind((GATE,), 0, 0, "a line in the stream that the ledger cannot take"),
    "read-only": Kind((POSTGRESQL,), 0.5, 7, "takes no write, as after a failover"),
    "no-memory": Kind((GATE, BROKER), 0.5, 4, "out of memory: reads and no writes"),
    "lose-key": Kind((GATE,), 0, 0, "one key of one item's gate is gone"),
    "slow": Kind(SERVERS, 1, 6, "every packet late", (5, 400), "ms"),
    "thin": Kind(SERVERS, 1, 6, "little bandwidth", (4, 64), "KiB/s"),
    "cut": Kind(SERVERS, 0.5, 7, "nothing passes, either way; delivered late"),
    "deaf": Kind(SERVERS, 0.5, 5, "requests arrive, replies are lost"),
    "half-open": Kind(SERVERS, 0.5, 6, "the far end is gone and the near end is not told"),
    "reset": Kind(SERVERS, 0, 2, "connections reset, new ones too"),
}
LINK_KINDS = ("slow", "thin", "cut", "deaf", "half-open", "reset")
_ALL = {"kill": 5, "pause": 4, "crash": 3, "restart": 1, "lose": 1, "fill": 1, "poison": 2, **dict.fromkeys(LINK_KINDS, 1)}
_ALL |= {"read-only": 2, "no-memory": 1, "lose-key": 2}


@dataclass(frozen=True, slots=True)
class Profile:
    """``weights``: kind -> how often; ``pause_s``: from, to, between a heal and the next fault; ``at_once``: at most."""

    weights: dict[str, int]
    pause_s: tuple[float, float]
    at_once: int = 2


PROFILES = {
    "mixed": Profile(_ALL, (0.2, 2.5)),
    # With its disk gone too, the gate takes orders with it that were admitted and not yet deducted: weaker promises.
    "disk-loss": Profile({**_ALL, "lose-gate": 12}, (0.2, 2.5)),
    "storm": Profile({**_ALL, "crash": 6, "half-open": 3, "deaf": 3, "cut": 3}, (0.0, 0.4), at_once=3),
    "outage": Profile({"outage": 1}, (8, 12)),
    # With processes of a newer release beside the others.
    "deploy": Profile(_ALL, (0.2, 2.5)),
    "soak": Profile(_ALL, (12, 30)),
    "calm": Profile({}, (1, 1)),
}
WITH_NEWER = ("deploy",)
_OVERLAPPING = 0.35  # of the faults begin before the one before them is healed
_FIRST_AT_S = 1.5


@dataclass(frozen=True, slots=True)
class Fault:
    """``at``, ``seconds``: from the sale's opening to the fault, from the fault to its heal."""

    at: float
    seconds: float
    kind: str
    target: str
    pick: int = 0  # which child, modulo how many there are then
    amount: float = 0

    @property
    def heals_at(self) -> float:
        """Seconds from the sale's opening."""
        return round(self.at + self.seconds, 2)

    def __str__(self) -> str:
        kind = KINDS[self.kind]
        amount = f" {self.amount:.0f} {kind.unit}" if kind.unit else ""
        lasts = f"for {self.seconds:4.1f} s" if self.seconds else "          "
        return f"{self.at:7.1f} s  {self.kind:<10}{self.target:<17}{lasts}  {kind.says}{amount}"


@dataclass(frozen=True, slots=True)
class Plan:
    """All faults of a run, by time; every one is healed before ``seconds`` are over."""

    seed: int
    profile: str
    seconds: float
    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        head = f"seed {self.seed}, profile {self.profile}, {self.seconds:.0f} s, {len(self.faults)} faults"
        return "\n".join([head, *map(str, self.faults)])


def make(seed: int, seconds: float, profile: str = "mixed", without: Sequence[str] = ()) -> Plan:
    """The plan of this seed.

    Args:
        without: targets that this stack does not have, and kinds that cannot be done here.
    """
    chance = random.Random(f"{profile}:{seed}")
    return Plan(seed, profile, seconds, tuple(_faults(chance, seconds, PROFILES[profile], frozenset(without))))


def _faults(chance: random.Random, seconds: float, profile: Profile, without: frozenset[str]) -> Iterator[Fault]:
    at = _FIRST_AT_S
    busy: dict[str, float] = {}  # victim -> until when
    while profile.weights and at < seconds:
        fault = _fault(chance, at, profile)
        free = fault.target not in without and fault.kind not in without and busy.get(_root(fault.target), 0) <= at
        if free and fault.heals_at <= seconds:
            yield fault
            busy[_root(fault.target)] = fault.heals_at
        at_once = chance.randint(2, profile.at_once) if chance.random() < _OVERLAPPING else 1
        active = sorted((until for until in busy.values() if until > at), reverse=True)
        free_at = active[at_once - 1] if len(active) >= at_once else at
        at = round(free_at + chance.uniform(*profile.pause_s), 2)


def _fault(chance: random.Random, at: float, profile: Profile) -> Fault:
    name = chance.choices(list(profile.weights), list(profile.weights.values()))[0]
    kind = KINDS[name]
    target = chance.choice(kind.targets)
    seconds = round(chance.uniform(kind.shortest, kind.longest), 2)
    return Fault(at, seconds, name, target, chance.randrange(12), round(chance.uniform(*kind.amounts), 1))


def _root(target: str) -> str:
    return target.partition("/")[0]
