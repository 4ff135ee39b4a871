"""What the limiter does to a load, second by second: exactly, on the real scripts in virtual time; and over real processes."""

import multiprocessing
import time

import pytest

from flashsale.core.redis_client import gate_client
from flashsale.ratelimit.limit import Check
from flashsale.ratelimit.redis_store import RedisStore
from flashsale.rehearsal.shapes import ALGORITHMS, RATE, SHAPES, Outcome, most_in_any, per_bin

START = 1_700_000_000_000_000
S = 1_000_000
CASES = [(shape, name) for shape in SHAPES for name in shape.passes]
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


def buyer(url, name, shape, part, parts, start_at, answers):
    """One process of the crowd: sends its share of the arrivals at their times and tells what became of them."""
    import redis

    client = redis.Redis.from_url(url, decode_responses=True)
    store = RedisStore(lambda: client)
    check = [Check("real-shape", ALGORITHMS[name])]
    seen = []
    for index, at in enumerate(shape.arrivals_us()):
        if index % parts != part:
            continue
        wait = start_at + at / S - time.time()
        if wait > 0:
            time.sleep(wait)
        verdict = store.decide(check)
        reading = verdict.readings[0]
        seen.append((verdict.now_us, reading.wait_us if verdict.granted else None))
    answers.put(seen)


def run_processes(shape, name, processes=3):
    from django.conf import settings

    gate_client().flushall()
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    start_at = time.time() + 0.3
    crowd = [
        context.Process(target=buyer, args=(settings.REDIS_URL, name, shape, part, processes, start_at, answers))
        for part in range(processes)
    ]
    for one in crowd:
        one.start()
    seen = sorted((pair for _ in crowd for pair in answers.get(timeout=60)), key=lambda pair: pair[0])
    for one in crowd:
        one.join()
    outcome = Outcome()
    first = seen[0][0]
    for at, wait in seen:
        outcome.add(at - first, wait)
    return outcome


@pytest.mark.parametrize(
    ("shape", "name"), [(SHAPES[0], "token bucket"), (SHAPES[0], "sliding log"), (SHAPES[2], "leaky bucket")], ids=str
)
def test_real_processes_on_the_servers_clock_make_the_same_shape(shape, name):
    outcome = run_processes(shape, name)

    expected = shape.passes[name]
    for seen, wanted in zip(per_bin(outcome.passed, len(expected)), expected, strict=True):
        assert abs(seen - wanted) <= max(3, 0.03 * wanted), (per_bin(outcome.passed, len(expected)), expected)
    if name == "sliding log":
        assert most_in_any(outcome.passed, S) == RATE
    if name == "leaky bucket":
        assert most_in_any(outcome.passed, S // 10) == RATE // 10
