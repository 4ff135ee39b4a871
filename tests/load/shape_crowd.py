"""Several processes offer every shape to every algorithm at once, on one server; its clock says when."""

import multiprocessing
import time
from bisect import bisect
from operator import itemgetter

import redis
from django.conf import settings

from flashsale.core.redis_client import gate_client
from flashsale.ratelimit.limit import SECOND_US, Check
from flashsale.ratelimit.stores.redis_store import DECIDE, arguments, verdict
from tests.load.tps_shapes import ALGORITHMS, SHAPES, Outcome, per_bin

CASES = [(shape, name) for shape in SHAPES for name in shape.passes]
_PROCESSES = 4
_ATTEMPTS = 5
_WAIT_S = 30
# Seconds after the start, by algorithm: the spikes come one after the other, so that 1,900 requests/s are the most.
_STARTS = {"constant 300/s": (0, 0, 0), "one second of 1000/s inside 50/s": (0, 1, 2), "square wave, 400/s": (5, 5, 5)}


def is_near(seen, wanted):
    """What a shape over real processes is held to: 3 % or 3 requests."""
    return abs(seen - wanted) <= max(3, 0.03 * wanted)


def outcomes():
    """(name of the shape, algorithm) -> its outcome, of real processes.

    A load that did not come as planned, by the server's clock, is offered again, whatever passed: the machine was busy.
    """
    plan, found, left = _plan(), {}, set(range(len(CASES)))
    for _ in range(_ATTEMPTS):
        seen = _offer([request for request in plan if request[1] in left])
        for number in sorted(left):
            shape, name = CASES[number]
            outcome = _outcome(shape, [record[1:] for record in seen if record[0] == number])
            if came_as_planned(shape, outcome):
                found[shape.name, name] = outcome
                left.remove(number)
        if not left:
            return found
    raise AssertionError(f"in {_ATTEMPTS} attempts the machine did not offer as planned: {[CASES[number] for number in left]}")


def came_as_planned(shape, outcome):
    """Whether the requests of each second came in it."""
    return all(map(is_near, per_bin(outcome.offered, len(shape.per_second)), shape.per_second))


def _plan():
    """Every request in the order of the times: (microseconds after the start, number of its case, time in its shape)."""
    starts = [start for shape in SHAPES for start in _STARTS[shape.name]]
    return sorted(
        (start * SECOND_US + at, case, at)
        for case, ((shape, _), start) in enumerate(zip(CASES, starts, strict=True))
        for at in shape.arrivals_us()
    )


def _offer(plan):
    gate_client().flushall()
    context = multiprocessing.get_context("fork")
    answers, ready, start_at = context.Queue(), context.Barrier(_PROCESSES + 1), context.Value("d")
    crowd = [
        context.Process(target=_send, args=(settings.REDIS_URL, plan[part::_PROCESSES], ready, start_at, answers))
        for part in range(_PROCESSES)
    ]
    for one in crowd:
        one.start()
    ready.wait(_WAIT_S)
    start_at.value = time.time() + 0.1
    ready.wait(_WAIT_S)
    seen = [record for _ in crowd for record in answers.get(timeout=_WAIT_S)]
    for one in crowd:
        one.join()
    return seen


def _send(url, part, ready, start_at, answers):
    """One process: sends its part of the plan at its times and tells what became of it."""
    client = redis.Redis.from_url(url, decode_responses=True)
    checks = [Check(f"{shape.name} {name}", ALGORITHMS[name]) for shape, name in CASES]
    calls = [([check.key], arguments([check], 1, "take", None)) for check in checks]
    client.ping()
    ready.wait(_WAIT_S)
    ready.wait(_WAIT_S)
    seen, following = [], 0
    while following < len(part):
        now = (time.time() - start_at.value) * SECOND_US
        if part[following][0] > now:
            time.sleep((part[following][0] - now) / SECOND_US)
            continue
        first, following = following, bisect(part, now, lo=following, key=itemgetter(0))
        # All that are due go in one trip, so that a process that had to wait for the CPU catches up. Those whose second is over
        # stay away: they would be part of another shape.
        due = [(case, at) for when, case, at in part[first:following] if now < when - at % SECOND_US + SECOND_US]
        verdicts = map(verdict, DECIDE.each(client, [calls[case] for case, _ in due]))
        for (case, at), found in zip(due, verdicts, strict=True):
            seen.append((case, found.now_us, at, found.readings[0].wait_us if found.granted else None))
    answers.put(seen)


def _outcome(shape, records):
    """In times of the shape: the first decision of the second that counts came at that second's beginning."""
    since = shape.since * SECOND_US
    origin = min(now for now, at, _ in records if at >= since) - since
    outcome = Outcome()
    for now, _, wait in records:
        outcome.add(now - origin, wait)
    return outcome
