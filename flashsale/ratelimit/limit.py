"""What goes into a limiter and what comes out of it. Times are whole microseconds."""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, Protocol

SECOND_US = 1_000_000
# Above it a double, which is what Lua counts with, skips whole numbers.
LARGEST_EXACT = 2**53
_WORST_ROUNDING = 0.01

Mode = Literal["take", "peek", "fill", "now"]
State = tuple[int, ...]


class ConfigurationError(ValueError):
    """A limit that could not do what it says; the message is for the person who wrote it."""


class Reading(NamedTuple):
    """What one limit says about one request.

    ``remaining``: units that would pass right after this decision. ``wait_us``: how long a leaky bucket asks the request
    to wait before it leaves. ``retry_after_us``: 0 when it passed. ``reset_after_us``: until the limit is as if unused.
    """

    passed: bool
    wait_us: int
    remaining: int
    retry_after_us: int
    reset_after_us: int


class Algorithm(Protocol):
    """One way to limit. Frozen; all state is handed in and out, so the same object serves every key and every store."""

    code: ClassVar[int]

    def __hash__(self) -> int: ...

    @property
    def limit(self) -> int:
        """The most units that can ever pass at one moment."""

    @property
    def window_us(self) -> int:
        """The time in which ``limit`` units come back."""

    def parameters(self) -> tuple[int, ...]:
        """What the Lua twin needs to decide alike."""

    def mend(self, state: State, now_us: int) -> State:
        """The state as far as it can be true: what a lowered rate, or a clock that stepped back, left too far ahead is cut.

        Written back even when the request is refused, or the key would be locked out for as long as the step was.
        """

    def decide(self, state: State | None, now_us: int, cost: int) -> tuple[Reading, State | None, int]:
        """Decide on a mended state: the reading, the state to keep if the units are taken, and for how many us to keep it."""

    def share(self, nodes: int) -> "Algorithm":
        """The part of this limit that one of ``nodes`` equal nodes may grant by itself."""


@dataclass(frozen=True, slots=True)
class Check:
    """One limit on one key. ``binding``: False for a shadow, which is read and charged but never refuses."""

    key: str
    algorithm: Algorithm
    binding: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a store says about several checks: ``granted`` units (0 when refused), and a reading for each check, in order."""

    granted: int
    now_us: int
    readings: tuple[Reading, ...]


class Store(Protocol):
    """Where the state of limits is kept."""

    def decide(self, checks: "list[Check]", cost: int = 1, *, mode: Mode = "take") -> Verdict:
        """Decide all checks at once: either every binding one passes and is charged, or none is.

        Args:
            cost: units, the same for every check.
            mode: ``take``; ``peek``, which charges nothing; ``fill``, which takes as many units up to ``cost`` as fit;
                ``now``, which fills too, but books nothing that would have to wait.

        Raises:
            ConfigurationError: a cost that a check could never grant.
        """

    def give_back(self, check: Check, end_us: int, units: int) -> bool:
        """Return the last ``units`` of a leaky bucket's booking that ended at ``end_us``; False if others booked since."""

    def reset(self, key: str) -> None:
        """Forget a key."""


def interval_us(count: int, period_us: int) -> int:
    """Microseconds between two units at ``count`` units per ``period_us``.

    Raises:
        ConfigurationError: no rate at all, or one that whole microseconds miss by more than 1 %.
    """
    if count < 1 or period_us < 1:
        raise ConfigurationError("a rate is at least one unit per period")
    interval = max(1, round(period_us / count))
    if abs(interval * count - period_us) > _WORST_ROUNDING * period_us:
        raise ConfigurationError(
            f"{count} per {period_us} us cannot be kept within 1 % in whole microseconds; use a lower rate"
        )
    return interval


def require_exact(product: int) -> None:
    """
    Raises:
        ConfigurationError: the numbers of this limit are too large to be counted exactly.
    """
    if product > LARGEST_EXACT:
        raise ConfigurationError("limit times window is too large to be counted exactly; use a shorter window")


def require_fit(cost: int, limit: int) -> None:
    """
    Raises:
        ConfigurationError: the cost is not positive, or more than the limit can ever grant at once.
    """
    if not 1 <= cost <= limit:
        raise ConfigurationError(f"a cost of {cost} can never pass a limit of {limit}")
