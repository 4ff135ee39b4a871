"""What cannot limit is refused when it is written."""

import pytest

from flashsale.ratelimit.algorithms.leaky_bucket import LeakyBucket
from flashsale.ratelimit.algorithms.sliding_counter import SlidingCounter
from flashsale.ratelimit.algorithms.sliding_log import SlidingLog
from flashsale.ratelimit.algorithms.token_bucket import TokenBucket
from flashsale.ratelimit.limit import Check, ConfigurationError
from flashsale.ratelimit.stores.memory_store import MemoryStore

S = 1_000_000


@pytest.mark.parametrize(
    "make",
    [
        lambda: TokenBucket(0, S, 10).interval,
        lambda: TokenBucket(10, S, 0),
        lambda: TokenBucket(60_000, S, 10).interval,
        lambda: TokenBucket(1, 3600 * S, 10_000_000),
        lambda: TokenBucket(10, S, 10, warm_up_ms=-1),
        lambda: LeakyBucket(10, S, -1),
        lambda: SlidingLog(0, S),
        lambda: SlidingLog(20_000, S),
        lambda: SlidingLog(10, S, sub_limit=5),
        lambda: SlidingLog(10, S, sub_limit=11, sub_window_us=S // 2),
        lambda: SlidingCounter(10, S, sub_limit=5, sub_window_us=S),
        lambda: SlidingCounter(10**9, 86_400 * S),
    ],
)
def test_numbers_that_make_no_limit_are_refused(make):
    with pytest.raises(ConfigurationError):
        make()


@pytest.mark.parametrize(
    ("algorithm", "most"),
    [
        (TokenBucket(10, S, 5), 5),
        (LeakyBucket(10, S, 200_000), 3),
        (SlidingLog(7, S), 7),
        (SlidingLog(7, S, 2, S // 10), 2),
        (SlidingCounter(7, S), 7),
    ],
)
def test_a_cost_that_can_never_fit_is_an_error_and_the_largest_that_fits_passes(algorithm, most):
    store = MemoryStore(lambda: 10 * S)

    assert store.decide([Check("k", algorithm)], most).granted == most

    for cost in (0, most + 1):
        with pytest.raises(ConfigurationError):
            store.decide([Check("k", algorithm)], cost)
