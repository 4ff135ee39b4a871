"""A distributed lock with a fencing number (Kleppmann, "How to do distributed locking", 2016).

The lock alone keeps nobody out: a holder that was stopped past its life still believes in it. So every write made under
the lock carries the fencing number, and the written side refuses a number lower than one it has seen.
"""

import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from uuid import uuid4

import redis

from flashsale.core.errors import Unavailable
from flashsale.core.lua import Script

_SCRIPTS = Path(__file__).parent / "lua"
_ACQUIRE = Script(_SCRIPTS / "acquire-2.lua")
_RELEASE = Script(_SCRIPTS / "release-1.lua")


class LockHeld(Unavailable):
    """Somebody else is at it; please try again in a moment."""

    code = "locked"


def forget(client: "redis.Redis", names: Iterable[str]) -> None:
    """Delete the counters of locks that nobody takes any more: a later holder would start at 1 again."""
    pipe = client.pipeline(transaction=False)
    for name in names:
        pipe.unlink(_counter(name))
    pipe.execute()


def _counter(name: str) -> str:
    return f"fs:fence:{{{name}}}"


class FencedLock:
    """``with FencedLock(client, "rebuild:17", ttl_ms=10_000) as fence: ...``"""

    def __init__(self, client: "redis.Redis", name: str, *, ttl_ms: int, wait_ms: int = 0) -> None:
        """
        Args:
            client: the Redis that holds the lock.
            name: what is locked; the lock and its counter share it as hash tag.
            ttl_ms: the lock's life, in milliseconds.
            wait_ms: how long ``with`` tries before it gives up, in milliseconds.
        """
        self._client = client
        self._key = f"fs:lock:{{{name}}}"
        self._counter = _counter(name)
        self._owner = uuid4().hex
        self._ttl_ms = ttl_ms
        self._wait_ms = wait_ms

    def acquire(self) -> int | None:
        """The fencing number, higher than every one before it, or None when the lock is held."""
        return int(_ACQUIRE(self._client, [self._key, self._counter], [self._owner, self._ttl_ms])) or None

    def release(self) -> bool:
        """Give the lock up; False when it was no longer ours. May run twice."""
        return bool(_RELEASE(self._client, [self._key], [self._owner]))

    def __enter__(self) -> int:
        """
        Raises:
            LockHeld: not free within ``wait_ms``.
        """
        deadline = time.monotonic() + self._wait_ms / 1000
        while (fence := self.acquire()) is None:
            if time.monotonic() >= deadline:
                raise LockHeld(retry_after=1)
            time.sleep(0.02)
        return fence

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()
