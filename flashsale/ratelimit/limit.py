"""Interfaces of limiters, algorithms and stores. Times are whole microseconds."""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, Protocol

SECOND_US = 1_000_000
# Largest exact integer in a double, the number type of Lua.
LARGEST_EXACT = 2**53
_WORST_ROUNDING = 0.01

Mode = Literal["take", "peek", "fill", "now"]
State = tuple[int, ...]


class ConfigurationError(ValueError):
    """A limit that is not valid. The message is for the user who configured it."""


class Reading(NamedTuple):
    """A limit's result for a request.

    ``remaining``: units that would pass right after this decision. ``wait_us``: how long a leaky bucket makes the request wait.
    ``retry_after_us``: 0 if it passed. ``reset_after_us``: time until the limit is completely unused.
    """

    passed: bool
    wait_us: int
    remaining: int
    retry_after_us: int
    reset_after_us: int


class Algorithm(Protocol):
    """A rate-limit algorithm. Immutable: state is passed in and returned, so one object serves all keys and stores."""

    code: ClassVar[int]

    def __hash__(self) -> int: ...

    @property
    def limit(self) -> int:
        """The largest number of units that can pass at once."""

    @property
    def window_us(self) -> int:
        """The time in which ``limit`` units are restored."""

    def parameters(self) -> tuple[int, ...]:
        """The parameters of the Lua implementation."""

    def mend(self, state: State, now_us: int) -> State:
        """Limit the state to plausible values after the rate was lowered or the clock was set back.

        It is stored even if the request is refused. Otherwise the key would be blocked for as long as the clock was set back.
        """

    def decide(self, state: State | None, now_us: int, cost: int) -> tuple[Reading, State | None, int]:
        """Decide on a repaired state. Returns the reading, the state to store if the units are taken, and its TTL in us."""

    def share(self, nodes: int) -> "Algorithm":
        """The share of this limit that one of ``nodes`` nodes may grant locally."""


@dataclass(frozen=True, slots=True)
class Check:
    """A limit for a key. ``binding`` is False for a shadow rule, which is charged but never refuses."""

    key: str
    algorithm: Algorithm
    binding: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """A store's decision on several checks: ``granted`` units (0 if refused), and a reading per check, in order."""

    granted: int
    now_us: int
    readings: tuple[Reading, ...]


class Store(Protocol):
    """Stores the state of limits."""

    def decide(self, checks: "list[Check]", cost: int = 1, *, mode: Mode = "take") -> Verdict:
        """Decide all checks together: all binding ones pass and are charged, or none is.

        Args:
            cost: units, the same for every check.
            mode: ``take``; ``peek`` charges nothing; ``fill`` takes as many units up to ``cost`` as possible; ``now`` is like
                ``fill``, but reserves nothing that would have to wait.

        Raises:
            ConfigurationError: the cost exceeds what a check can ever grant.
        """

    def give_back(self, check: Check, end_us: int, units: int) -> bool:
        """Return the last ``units`` of a leaky bucket's reservation that ends at ``end_us``. False if others reserved since."""

    def reset(self, key: str) -> None:
        """Delete a key's state."""


def interval_us(count: int, period_us: int) -> int:
    """Microseconds between two units at ``count`` units per ``period_us``.

    Raises:
        ConfigurationError: the rate is below 1 unit, or cannot be represented within 1 % in whole microseconds.
    """
    if count < 1 or period_us < 1:
        raise ConfigurationError("the rate must be at least one unit per period")
    interval = max(1, round(period_us / count))
    if abs(interval * count - period_us) > _WORST_ROUNDING * period_us:
        raise ConfigurationError(
            f"{count} per {period_us} us cannot be represented within 1 % in whole microseconds; use a lower rate"
        )
    return interval


def require_exact(product: int) -> None:
    """
    Raises:
        ConfigurationError: the values are too large for exact arithmetic.
    """
    if product > LARGEST_EXACT:
        raise ConfigurationError("limit times window is too large to be counted exactly; use a shorter window")


def require_fit(cost: int, limit: int) -> None:
    """
    Raises:
        ConfigurationError: the cost is not positive, or exceeds what the limit can ever grant at once.
    """
    if not 1 <= cost <= limit:
        raise ConfigurationError(f"a cost of {cost} can never pass a limit of {limit}")
