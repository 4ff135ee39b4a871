"""The circuit breakers of this process, one for each provider."""

import logging
from functools import cache, partial

from flashsale.core.breaker import BreakerLimits, CircuitBreaker, State

logger = logging.getLogger(__name__)
LIMITS = BreakerLimits(
    failures=0, error_ratio=0.5, slow_ratio=0.8, slow_s=5.0, window_s=30.0, min_calls=20, open_s=10.0, probes=3
)


@cache
def breaker(name: str) -> CircuitBreaker:
    """The breaker of calls to this provider."""
    return CircuitBreaker(limits=LIMITS, on_change=partial(_changed, name))


def _changed(name: str, state: State) -> None:
    logger.warning("circuit breaker", extra={"event": "breaker_changed", "breaker": name, "state": state})
