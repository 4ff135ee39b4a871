"""What the limiter does to a load, second by second: exactly, on the real scripts in virtual time; and over real processes."""

import pytest

from flashsale.core.redis_client import gate_client
from flashsale.ratelimit.limit import Check
from flashsale.ratelimit.stores.redis_store import RedisStore
from tests.load.shape_crowd import CASES, came_as_planned, is_near, outcomes
from tests.load.tps_shapes import ALGORITHMS, RATE, SHAPES, Outcome, most_in_any, per_bin

START = 1_700_000_000_000_000
S = 1_000_000
IDS = [f"{shape.name}-{name}" for shape, name in CASES]


def virtual(shape, name):
    gate_client().flushall()
    clock = [START]
    store = RedisStore(gate_client, lambda: clock[0])
    check = [Check("shape", ALGORITHMS[name])]
    outcome = Outcome()
    for at in shape.arrivals_us():
        clock[0] = START + at
        verdict = store.decide(check)
        outcome.add(at, verdict.readings[0].wait_us if verdict.granted else None)
    return outcome


@pytest.mark.parametrize(("shape", "name"), CASES, ids=IDS)
@pytest.mark.slow
def test_the_load_gets_its_shape_exactly(shape, name):
    outcome = virtual(shape, name)

    expected = shape.passes[name]
    passed = per_bin(outcome.passed, shape.since + len(expected))
    assert tuple(passed[shape.since :]) == expected
    assert len(outcome.passed) + len(outcome.refused) == sum(shape.per_second)


def test_a_leaky_queue_lets_ten_pass_in_any_tenth_of_a_second():
    outcome = virtual(SHAPES[0], "leaky bucket")

    assert most_in_any(outcome.passed, S // 10) == RATE // 10
    assert set(per_bin(outcome.passed, 40, S // 10)) == {RATE // 10}


def test_a_sliding_log_never_lets_more_than_its_limit_pass_in_any_second():
    assert most_in_any(virtual(SHAPES[0], "sliding log").passed, S) == RATE


@pytest.fixture(scope="module")
def real():
    return outcomes()


@pytest.mark.parametrize(("shape", "name"), CASES, ids=IDS)
@pytest.mark.slow
@pytest.mark.timed
def test_real_processes_on_the_servers_clock_make_the_same_shape(real, shape, name):
    outcome = real[shape.name, name]

    expected = shape.passes[name]
    passed = per_bin(outcome.passed, shape.since + len(expected))[shape.since :]
    assert all(map(is_near, passed, expected)), (passed, expected)


def test_a_leaky_queue_lets_ten_pass_in_any_tenth_of_a_second_of_real_processes(real):
    assert {most_in_any(real[shape.name, "leaky bucket"].passed, S // 10) for shape in SHAPES} == {RATE // 10}


def test_sliding_log_keeps_its_limit_in_every_real_second(real):
    assert {most_in_any(real[shape.name, "sliding log"].passed, S) for shape in SHAPES} == {RATE}


def test_a_load_that_came_otherwise_than_planned_is_told_from_one_that_did():
    shape = SHAPES[2]
    late, fitting = Outcome(), Outcome()
    for at in shape.arrivals_us():
        fitting.add(at, None)
        late.add(at + S // 50, None)

    assert came_as_planned(shape, fitting)
    assert not came_as_planned(shape, late)
