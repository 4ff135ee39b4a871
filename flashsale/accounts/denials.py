"""Revoked credentials in the memory of this process. A check costs two dictionary look-ups and no round trip.

The list is read from Redis once a second. While Redis is down the last known list applies; entries stay until they expire.
"""

import logging
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import redis
from django.conf import settings
from django.db import Error, connection

from flashsale.accounts import revocations
from flashsale.core.clock import now, to_us
from flashsale.core.database.patience import quiet_patience, silence
from flashsale.ratelimit.in_process import limits_client

logger = logging.getLogger(__name__)
_EVERY_S = 1.0
_PRUNE_EVERY_S = 60.0
_PAGE = 5_000
_PROBE_EVERY_S = 10.0


class Denials:
    """The revoked credentials. Thread-safe."""

    def __init__(self, client: Callable[[], "redis.Redis"]) -> None:
        """
        Args:
            client: the Redis in which revocations are published. Read-only.
        """
        self._client = client
        self._users: dict[int, int] = {}  # user -> refuse credentials issued before this time, in microseconds
        self._sessions: dict[str, int] = {}  # session -> time it was read
        self._last = "0-0"
        self._lock = threading.Lock()
        self._looked_at = self._pruned_at = -_PRUNE_EVERY_S
        self._probe_at = 0.0
        self._is_kept = False

    def refuses(self, user_id: int, issued_us: int, session: str) -> bool:
        """Whether a credential has been revoked.

        Args:
            issued_us: time of issue, in microseconds since 1970.
            session: name of its browser session or token family; empty if none.
        """
        if not self._is_kept and time.monotonic() - self._looked_at >= _EVERY_S:
            self.look()
        return issued_us < self._users.get(user_id, 0) or session in self._sessions

    def look(self) -> bool:
        """Read new entries unless another thread is reading. Returns whether Redis answered."""
        if not self._lock.acquire(blocking=False):
            return True
        try:
            self._looked_at = time.monotonic()
            self._read()
            self._prune()
        except redis.RedisError as error:
            logger.warning("revocations could not be read", extra={"event": "revocations_not_read", "error": repr(error)})
            return False
        finally:
            self._lock.release()
        return True

    def _read(self) -> None:
        newest: Any = self._client().xrevrange(revocations.STREAM, count=1)
        if newest and _order(newest[0][0]) < _order(self._last):  # a different Redis with a slower clock
            self._last = "0-0"
        while newest and _order(self._last) < _order(newest[0][0]):
            page: Any = self._client().xrange(revocations.STREAM, f"({self._last}", count=_PAGE)
            for _, fields in page:
                self._take(fields)
            if not page:
                return
            self._last = page[-1][0]

    def _take(self, fields: dict[str, str]) -> None:
        """Apply an entry. Fields and kinds of a newer version are ignored."""
        if fields.get("session"):
            self._sessions[fields["session"]] = to_us(now())
        user, before = fields.get("user", ""), fields.get("before", "")
        if user.isdecimal() and before.isdecimal():
            self.deny(int(user), int(before))

    def deny(self, user_id: int, before_us: int) -> None:
        """Refuse credentials issued to the user before ``before_us``."""
        self._users[user_id] = max(before_us, self._users.get(user_id, 0))

    def _prune(self) -> None:
        if time.monotonic() - self._pruned_at < _PRUNE_EVERY_S:
            return
        self._pruned_at = time.monotonic()
        oldest_us = to_us(now() - revocations.lifetime())
        known: tuple[dict[Any, int], ...] = (self._users, self._sessions)
        for found in known:
            for key in [key for key, at_us in list(found.items()) if at_us < oldest_us]:
                del found[key]

    def keep(self) -> None:
        """Read now and then every second. Publish too if no sweep has done so for two seconds."""
        self._is_kept = True
        if not self.look():
            self._read_the_source()

        def repeat() -> None:
            while True:
                time.sleep(_EVERY_S)
                self.look()
                self._publish_if_nobody_does()

        threading.Thread(target=repeat, daemon=True, name="revocations").start()

    def _publish_if_nobody_does(self) -> None:
        try:
            # While PostgreSQL does not answer, nothing can be revoked. Leave the circuit breaker's probe to requests.
            is_silent = silence.state == "open" or (silence.state == "half-open" and time.monotonic() < self._probe_at)
            if not is_silent and not self._client().exists(revocations.PUBLISHED):
                self._probe_at = time.monotonic() + _PROBE_EVERY_S
                with quiet_patience(settings.DATABASE_REQUEST_PATIENCE_S):
                    revocations.publish()
                self.look()
        except (redis.RedisError, Error, OSError) as error:
            logger.warning(
                "revocations could not be published", extra={"event": "revocations_not_published", "error": repr(error)}
            )
        finally:
            connection.close()

    def _read_the_source(self) -> None:
        """Read revocations from PostgreSQL, for a process that starts while Redis is down."""
        try:
            with quiet_patience(settings.DATABASE_REQUEST_PATIENCE_S):
                for row in revocations.live():
                    self._take(revocations.fields(row))
        except (Error, OSError) as error:
            logger.warning("revocations could not be loaded", extra={"event": "revocations_unknown", "error": repr(error)})
        finally:
            connection.close()


def _order(entry: str) -> tuple[int, int]:
    milliseconds, _, number = entry.partition("-")
    return int(milliseconds), int(number or 0)


@cache
def denials() -> Denials:
    """The revocations of this process."""
    return Denials(limits_client)
