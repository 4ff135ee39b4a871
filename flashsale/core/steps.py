"""Work that talks to servers, written as a generator of steps. A thread or an event loop can run it.

A generator yields a step and receives its result, or its error as an exception. :func:`run` executes the steps in the calling
thread. ``flashsale.core.joined_trips.drive`` executes them in an event loop, where many callers share one round trip.
"""

import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, TypeVar

import redis

from flashsale.core.lua import Script

T = TypeVar("T")


class Trip(NamedTuple):
    """Run a script. The result is its reply. A ``redis.RedisError`` is raised in the generator."""

    script: Script
    client: "Callable[[], redis.Redis]"
    keys: Sequence[str]
    args: Sequence[Any]


class Pause(NamedTuple):
    """Wait for this many seconds."""

    seconds: float


class Blocking(NamedTuple):
    """A call that may wait for PostgreSQL. Its result is returned, its error is raised in the generator."""

    work: Callable[[], Any]


class Aside(NamedTuple):
    """A call that never raises and whose result is not needed. An event loop does not wait for it. A crash may lose it."""

    work: Callable[[], Any]


Step = Trip | Pause | Blocking | Aside
Steps = Generator[Step, Any, T]


def run(steps: Steps[T]) -> T:
    """Execute the steps in this thread.

    Raises:
        Exception: any error that the generator raises.
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
