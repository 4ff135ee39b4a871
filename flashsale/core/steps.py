"""Work that talks to servers, written once as a generator of steps and run by a thread or by an event loop.

A generator yields what it needs from outside and gets the result sent back, or the error thrown in. :func:`run` carries the
steps out in the calling thread; ``flashsale.core.joined_trips.drive`` does it in an event loop, where the trips of many callers
share one round trip.
"""

import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, TypeVar

import redis

from flashsale.core.lua import Script

T = TypeVar("T")


class Trip(NamedTuple):
    """One run of a script. The result is its reply; a ``redis.RedisError`` is thrown in."""

    script: Script
    client: "Callable[[], redis.Redis]"
    keys: Sequence[str]
    args: Sequence[Any]


class Pause(NamedTuple):
    """Wait for so many seconds."""

    seconds: float


class Blocking(NamedTuple):
    """A call that may wait for PostgreSQL. The result is its result; its error is thrown in."""

    work: Callable[[], Any]


class Aside(NamedTuple):
    """A call that never raises and whose end nobody needs: an event loop does not wait for it. A crash may lose it."""

    work: Callable[[], Any]


Step = Trip | Pause | Blocking | Aside
Steps = Generator[Step, Any, T]


def run(steps: Steps[T]) -> T:
    """Carry out the steps in this thread.

    Raises:
        Exception: what the generator raises.
    """
    resume: Callable[[Any], Step] = steps.send
    value: Any = None
    while True:
        try:
            step = resume(value)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        try:
            value, resume = _carried_out(step), steps.send
        except Exception as error:
            value, resume = error, steps.throw


def _carried_out(step: Step) -> Any:
    match step:
        case Trip(script, client, keys, args):
            return script(client(), keys, args)
        case Pause(seconds):
            return time.sleep(seconds)
        case Blocking(work) | Aside(work):
            return work()
