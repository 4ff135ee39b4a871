"""One behaviour over both stores, and every decision of the script against the model's."""

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flashsale.core.redis_client import gate_client
from flashsale.ratelimit.algorithms.leaky_bucket import LeakyBucket
from flashsale.ratelimit.algorithms.sliding_counter import SlidingCounter
from flashsale.ratelimit.algorithms.sliding_log import SlidingLog
from flashsale.ratelimit.algorithms.token_bucket import TokenBucket
from flashsale.ratelimit.limit import Check
from flashsale.ratelimit.stores.memory_store import MemoryStore
from flashsale.ratelimit.stores.redis_store import RedisStore

S = 1_000_000
START = 1_700_000_000 * S


class Clock:
    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    gate_client().flushall()
    return Clock()


@pytest.fixture(params=["memory", "redis"])
def store(request, clock):
    return MemoryStore(clock) if request.param == "memory" else RedisStore(gate_client, clock)


BUCKET = TokenBucket(10, S, 5)
ALL = [BUCKET, LeakyBucket(10, S, 400_000), SlidingLog(5, S), SlidingCounter(5, S)]


@pytest.mark.parametrize("algorithm", ALL, ids=lambda one: type(one).__name__)
def test_a_fresh_key_grants_its_limit_and_names_when_to_come_back(store, clock, algorithm):
    check = [Check("k", algorithm)]

    passed = [store.decide(check).granted for _ in range(6)]

    assert passed == [1, 1, 1, 1, 1, 0]
    refused = store.decide(check).readings[0]
    assert refused.remaining == 0
    assert refused.retry_after_us > 0
    clock.now += refused.retry_after_us - 1
    assert store.decide(check).granted == 0
    clock.now += 1
    assert store.decide(check).granted == 1


@pytest.mark.parametrize("algorithm", ALL, ids=lambda one: type(one).__name__)
def test_peek_changes_nothing_and_reset_forgets(store, clock, algorithm):
    check = [Check("k", algorithm)]
    assert [store.decide(check, mode="peek").readings[0].remaining for _ in range(3)] == [4, 4, 4]

    store.decide(check, 5)
    assert store.decide(check).granted == 0
    store.reset("k")

    assert store.decide(check, 5).granted == 5


@pytest.mark.parametrize("algorithm", ALL, ids=lambda one: type(one).__name__)
def test_fill_takes_what_fits(store, clock, algorithm):
    check = [Check("k", algorithm)]
    store.decide(check, 2)

    assert store.decide(check, 5, mode="fill").granted == 3
    assert store.decide(check, 5, mode="fill").granted == 0


@pytest.mark.parametrize("algorithm", ALL, ids=lambda one: type(one).__name__)
def test_a_clock_that_stepped_back_never_locks_a_key_out(store, clock, algorithm):
    check = [Check("k", algorithm)]
    store.decide(check, 5)

    clock.now -= 3600 * S

    refused = store.decide(check).readings[0]
    longest = 2 * S
    assert refused.retry_after_us <= longest
    clock.now += longest
    assert store.decide(check).granted == 1


def test_a_lowered_rate_never_locks_a_key_out(store, clock):
    store.decide([Check("k", TokenBucket(1, 60 * S, 100))], 100)

    lowered = TokenBucket(10, S, 5)

    assert store.decide([Check("k", lowered)]).readings[0].retry_after_us <= lowered.window_us


def test_several_limits_are_all_or_nothing(store, clock):
    narrow, wide = Check("narrow", SlidingLog(2, S)), Check("wide", SlidingLog(10, S))

    granted = [store.decide([wide, narrow]).granted for _ in range(5)]

    assert granted == [1, 1, 0, 0, 0]
    assert store.decide([wide], mode="peek").readings[0].remaining == 7


def test_a_shadow_is_charged_but_never_refuses(store, clock):
    shadow, real = Check("shadow", SlidingLog(2, S), binding=False), Check("real", SlidingLog(4, S))

    verdicts = [store.decide([shadow, real]) for _ in range(5)]

    assert [verdict.granted for verdict in verdicts] == [1, 1, 1, 1, 0]
    assert [verdict.readings[0].passed for verdict in verdicts] == [True, True, False, False, False]


def test_a_leaky_bucket_departs_in_order_at_an_even_pace(store, clock):
    check = [Check("k", LeakyBucket(10, S, 400_000))]

    waits = [store.decide(check).readings[0].wait_us for _ in range(5)]

    assert waits == [0, 100_000, 200_000, 300_000, 400_000]


def test_the_last_booking_can_be_given_back_and_an_earlier_one_cannot(store, clock):
    check = Check("k", LeakyBucket(10, S, 900_000))
    first = store.decide([check], 2)
    second = store.decide([check], 3)

    def end(verdict):
        return verdict.now_us + verdict.readings[0].reset_after_us

    assert not store.give_back(check, end(first), 2)
    assert store.give_back(check, end(second), 2)
    assert store.decide([check]).readings[0].wait_us == 300_000


def test_a_sub_window_bounds_the_burst_inside_the_window(store, clock):
    for algorithm in (SlidingLog(10, S, 3, S // 10), SlidingCounter(10, S, 3, S // 10)):
        check = [Check(type(algorithm).__name__, algorithm)]
        assert sum(store.decide(check).granted for _ in range(10)) == 3
        clock.now += S // 5
        assert sum(store.decide(check).granted for _ in range(10)) == 3


@pytest.mark.slow
def test_a_cold_token_bucket_starts_at_a_third_and_warms_up(store, clock):
    check = [Check("k", TokenBucket(100, S, 10, warm_up_ms=10_000))]
    passed = []
    for _ in range(12):
        count = 0
        for _ in range(400):
            count += store.decide(check).granted
            clock.now += S // 400
        passed.append(count)

    assert 33 <= passed[0] <= 45
    assert passed == sorted(passed[:10]) + passed[10:]
    assert passed[-1] in (99, 100, 101)


def test_every_key_expires(clock):
    store = RedisStore(gate_client)
    for algorithm in ALL:
        store.decide([Check(f"expires:{algorithm.code}", algorithm)])
        assert 0 < gate_client().pttl(f"expires:{algorithm.code}") <= 2_001


def test_a_server_that_forgot_the_script_learns_it_again(clock):
    store = RedisStore(gate_client)
    store.decide([Check("k", BUCKET)])
    gate_client().script_flush()
    assert store.decide([Check("k", BUCKET)]).granted == 1


def test_an_unreachable_server_is_an_error_of_redis():
    client = redis.Redis(port=1, socket_connect_timeout=0.1)
    with pytest.raises(redis.RedisError):
        RedisStore(lambda: client).decide([Check("k", BUCKET)])


rates = st.tuples(st.integers(1, 5_000), st.sampled_from([S, 60 * S]))
subs = st.sampled_from([(0, 0), (1, 50_000), (3, 300_000)])
algorithms = st.one_of(
    st.builds(
        lambda rate, burst, warm: TokenBucket(rate[0], rate[1], burst, warm),
        rates,
        st.integers(3, 200),
        st.sampled_from([0, 0, 1, 500, 7_000]),
    ),
    st.builds(lambda rate, wait: LeakyBucket(rate[0], rate[1], wait), rates, st.integers(0, 5 * S)),
    st.builds(
        lambda limit, window, sub: SlidingLog(limit, window, *sub), st.integers(3, 60), st.integers(500_000, 3 * S), subs
    ),
    st.builds(
        lambda limit, window, sub: SlidingCounter(limit, window, *sub), st.integers(3, 900), st.integers(500_000, 3 * S), subs
    ),
)
steps = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 20_000), st.integers(0, 2 * S), st.integers(-2 * S, 0)),
        st.one_of(st.integers(1, 3), st.integers(1, 300)),
        st.sampled_from(["take", "take", "take", "peek", "fill", "now"]),
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limits=st.lists(st.tuples(algorithms, st.booleans()), min_size=1, max_size=4), steps=steps)
@pytest.mark.slow
def test_the_script_agrees_with_the_model_on_every_decision(limits, steps):
    gate_client().flushall()
    clock = Clock()
    model, script = MemoryStore(clock), RedisStore(gate_client, clock)
    checks = [Check(f"k{index}", algorithm, binding) for index, (algorithm, binding) in enumerate(limits)]
    checks[0] = Check(checks[0].key, checks[0].algorithm, True)
    for advance, cost, mode in steps:
        clock.now += advance
        cost = min(cost, *(getattr(check.algorithm, "sub_limit", 0) or check.algorithm.limit for check in checks))
        assert script.decide(checks, cost, mode=mode) == model.decide(checks, cost, mode=mode)
