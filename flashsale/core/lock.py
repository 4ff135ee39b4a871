"""Distributed locks with fencing tokens (Kleppmann, "How to do distributed locking", 2016).

A lock alone is not safe: a holder that was paused for longer than the TTL still believes that it holds the lock. So every
write under the lock carries the fencing token, and the storage refuses a token lower than one it has seen. Tokens keep rising
after Redis has lost them, because they are never below its clock in microseconds.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, TypeVar
from uuid import uuid4

import redis

from flashsale.core.errors import Unavailable
from flashsale.core.lua import Script

logger = logging.getLogger(__name__)
_SCRIPTS = Path(__file__).parent / "lua"
_ACQUIRE = Script(_SCRIPTS / "acquire-2.lua")
_PROLONG = Script(_SCRIPTS / "prolong-1.lua")
_RELEASE = Script(_SCRIPTS / "release-1.lua")
_COUNTER_TTL_S = 7 * 24 * 3600

P = ParamSpec("P")
T = TypeVar("T")


class LockHeld(Unavailable):
    """Another process holds this lock. Try again in a moment."""

    code = "locked"


class LocksAway(Unavailable):
    """The lock service cannot be reached. Try again in a moment."""


def _guarded(function: Callable[P, T]) -> Callable[P, T]:
    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except redis.RedisError as error:
            raise LocksAway(retry_after=1, cause=repr(error)) from error

    return call


@_guarded
def forget(client: "redis.Redis", names: Iterable[str]) -> None:
    """Delete the counters of locks that are no longer used. A later holder would start at 1 again."""
    pipe = client.pipeline(transaction=False)
    for name in names:
        pipe.unlink(_counter(name))
    pipe.execute()


def _counter(name: str) -> str:
    return f"fs:fence:{{{name}}}"


class FencedLocks:
    """Many locks, one round trip per call: ``with FencedLocks(client, names, ttl_ms=10_000) as locks: locks.fences``.

    All methods raise ``LocksAway`` if Redis cannot be reached. Leaving the context does not: the locks then expire.
    """

    def __init__(self, client: "redis.Redis", names: Sequence[str], *, ttl_ms: int, wait_ms: int = 0) -> None:
        """
        Args:
            client: the Redis that holds the locks.
            names: names of the locks; a lock and its counter share the name as hash tag.
            ttl_ms: TTL of a lock, in milliseconds.
            wait_ms: how long ``with`` tries to get all locks, in milliseconds.
        """
        self.fences: dict[str, int] = {}
        self._client = client
        self._names = names
        self._owner = uuid4().hex
        self._ttl_ms = ttl_ms
        self._wait_ms = wait_ms
        self._prolonged_at = 0.0

    @_guarded
    def acquire(self) -> bool:
        """Take the free locks. Returns True if all are held. ``fences`` has the fencing token of each held lock."""
        wanted = [name for name in self._names if name not in self.fences]
        calls = [([_lock(name), _counter(name)], [self._owner, self._ttl_ms, _COUNTER_TTL_S]) for name in wanted]
        answers = _ACQUIRE.each(self._client, calls)
        self._prolonged_at = time.monotonic()
        self.fences |= {name: int(fence) for name, fence in zip(wanted, answers, strict=True) if fence}
        return len(self.fences) == len(self._names)

    @_guarded
    def prolong(self) -> None:
        """Extend the held locks. Does nothing before a third of the TTL has passed."""
        if (time.monotonic() - self._prolonged_at) * 3000 >= self._ttl_ms:
            _PROLONG.each(self._client, [([_lock(name)], [self._owner, self._ttl_ms]) for name in self.fences])
            self._prolonged_at = time.monotonic()

    @_guarded
    def release(self) -> int:
        """Release the locks. Returns how many were still held. May run twice."""
        answers = _RELEASE.each(self._client, [([_lock(name)], [self._owner]) for name in self.fences])
        self.fences = {}
        return sum(answers)

    def __enter__(self) -> "FencedLocks":
        deadline = time.monotonic() + self._wait_ms / 1000
        while not self.acquire() and time.monotonic() < deadline:
            time.sleep(0.02)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.release()
        except LocksAway as away:
            logger.warning(
                "locks could not be released", extra={"event": "locks_kept", "names": self._names[:10], "error": repr(away)}
            )


def _lock(name: str) -> str:
    return f"fs:lock:{{{name}}}"


class FencedLock:
    """One lock: ``with FencedLock(client, "rebuild:17", ttl_ms=10_000) as fence: ...``. See :class:`FencedLocks`."""

    def __init__(self, client: "redis.Redis", name: str, *, ttl_ms: int, wait_ms: int = 0) -> None:
        self._name = name
        self._locks = FencedLocks(client, [name], ttl_ms=ttl_ms, wait_ms=wait_ms)

    def acquire(self) -> int | None:
        """Take the lock and return its fencing token, higher than all before. None if another process holds the lock."""
        self._locks.acquire()
        return self._locks.fences.get(self._name)

    def release(self) -> bool:
        """Release the lock. Returns False if it was no longer held. May run twice."""
        return bool(self._locks.release())

    def __enter__(self) -> int:
        """
        Raises:
            LockHeld: another process held the lock for all of ``wait_ms``.
        """
        fence = self._locks.__enter__().fences.get(self._name)
        if fence is None:
            raise LockHeld(retry_after=1)
        return fence

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._locks.__exit__(kind, error, trace)
