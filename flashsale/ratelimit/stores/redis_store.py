"""Limits in Redis: one script for any number of limits, with Redis's clock."""

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import redis

from flashsale.core.lua import Script
from flashsale.ratelimit.limit import Algorithm, Check, Mode, Reading, Verdict, require_fit

LUA = Path(__file__).parent.parent / "lua"
ALGORITHMS = tuple(LUA / f"{name}.lua" for name in ("token_bucket", "leaky_bucket", "sliding_log", "sliding_counter"))
TOKEN_BUCKET = ALGORITHMS[0]
DECIDE = Script(LUA / "decide-n.lua", parts=ALGORITHMS)
_GIVE_BACK = Script(LUA / "give_back-1.lua")
_WIDTH = len(Reading._fields)


@lru_cache(maxsize=4096)
def encoded(algorithm: Algorithm, binding: bool) -> str:
    """A limit in the script's format."""
    return json.dumps([algorithm.code, int(binding), *algorithm.parameters()], separators=(",", ":"))


def arguments(checks: list[Check], cost: int, mode: Mode, now_us: int | None) -> list[str | int]:
    """ARGV of the script.

    Raises:
        ConfigurationError: the cost exceeds what a check can ever grant.
    """
    for check in checks:
        require_fit(cost, _most(check.algorithm))
    return [mode, cost, "" if now_us is None else now_us, *(encoded(check.algorithm, check.binding) for check in checks)]


@lru_cache(maxsize=4096)
def _most(algorithm: Algorithm) -> int:
    return getattr(algorithm, "sub_limit", 0) or algorithm.limit


def verdict(answer: list[int]) -> Verdict:
    """Convert the script's return value."""
    readings = [Reading(bool(answer[at]), *answer[at + 1 : at + _WIDTH]) for at in range(2, len(answer), _WIDTH)]
    return Verdict(answer[0], answer[1], tuple(readings))


class RedisStore:
    """A :class:`~flashsale.ratelimit.limit.Store` that all processes share.

    Raises ``redis.RedisError`` if Redis cannot be reached. A decision that timed out may have been charged. Then the limit
    grants fewer units than it could.
    """

    def __init__(self, client: "Callable[[], redis.Redis]", clock_us: Callable[[], int] | None = None) -> None:
        """
        Args:
            client: returns the pooled client.
            clock_us: a clock for tests; default: Redis's clock.
        """
        self._client = client
        self._clock_us = clock_us

    def decide(self, checks: list[Check], cost: int = 1, *, mode: Mode = "take") -> Verdict:
        now_us = self._clock_us() if self._clock_us else None
        return verdict(DECIDE.once(self._client(), [check.key for check in checks], arguments(checks, cost, mode, now_us)))

    def give_back(self, check: Check, end_us: int, units: int) -> bool:
        end = end_us - units * check.algorithm.parameters()[0]
        return bool(_GIVE_BACK(self._client(), [check.key], [end_us, end]))

    def reset(self, key: str) -> None:
        self._client().delete(key)
