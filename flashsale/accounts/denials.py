"""What this process knows of revoked credentials: a question costs two dictionary look-ups and asks nobody.

Read from Redis once a second. While Redis is away the last known list holds; nothing is forgotten before its time.
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

from flashsale.accounts import publish
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
            client: of the Redis where they are published; only read from.
        """
        self._client = client
        self._users: dict[int, int] = {}  # user -> what was issued before is refused, in microseconds
        self._sessions: dict[str, int] = {}  # session -> when it was learnt
        self._last = "0-0"
        self._lock = threading.Lock()
        self._looked_at = self._pruned_at = -_PRUNE_EVERY_S
        self._probe_at = 0.0
        self._is_kept = False

    def refuses(self, user_id: int, issued_us: int, session: str) -> bool:
        """Whether a credential has been revoked.

        Args:
            issued_us: when it was issued, in microseconds since the epoch.
            session: the name of the browser session or token family it belongs to; empty for none.
        """
        if not self._is_kept and time.monotonic() - self._looked_at >= _EVERY_S:
            self.look()
        return issued_us < self._users.get(user_id, 0) or session in self._sessions

    def look(self) -> bool:
        """Read what is new, unless another thread is reading; whether Redis answered."""
        if not self._lock.acquire(blocking=False):
            return True
        try:
            self._looked_at = time.monotonic()
            self._read()
            self._prune()
        except redis.RedisError as error:
            logger.warning("revocations not read", extra={"event": "revocations_not_read", "error": repr(error)})
            return False
        finally:
            self._lock.release()
        return True

    def _read(self) -> None:
        newest: Any = self._client().xrevrange(publish.STREAM, count=1)
        if newest and _order(newest[0][0]) < _order(self._last):  # another Redis, whose clock is behind
            self._last = "0-0"
        while newest and _order(self._last) < _order(newest[0][0]):
            page: Any = self._client().xrange(publish.STREAM, f"({self._last}", count=_PAGE)
            for _, fields in page:
                self._take(fields)
            if not page:
                return
            self._last = page[-1][0]

    def _take(self, fields: dict[str, str]) -> None:
        """One entry; fields and kinds of a newer version are passed over."""
        if fields.get("session"):
            self._sessions[fields["session"]] = to_us(now())
        user, before = fields.get("user", ""), fields.get("before", "")
        if user.isdecimal() and before.isdecimal():
            self.deny(int(user), int(before))

    def deny(self, user_id: int, before_us: int) -> None:
        """Refuse what was issued to the user before."""
        self._users[user_id] = max(before_us, self._users.get(user_id, 0))

    def _prune(self) -> None:
        if time.monotonic() - self._pruned_at < _PRUNE_EVERY_S:
            return
        self._pruned_at = time.monotonic()
        oldest_us = to_us(now() - publish.lifetime())
        known: tuple[dict[Any, int], ...] = (self._users, self._sessions)
        for found in known:
            for key in [key for key, at_us in list(found.items()) if at_us < oldest_us]:
                del found[key]

    def keep(self) -> None:
        """Read now, and each second for as long as the process lives; publish when no sweep has for two seconds."""
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
            # While requests find PostgreSQL silent nothing can be revoked either, and the probe is theirs.
            is_silent = silence.state == "open" or (silence.state == "half-open" and time.monotonic() < self._probe_at)
            if not is_silent and not self._client().exists(publish.PUBLISHED):
                self._probe_at = time.monotonic() + _PROBE_EVERY_S
                with quiet_patience(settings.DATABASE_REQUEST_PATIENCE_S):
                    publish.publish()
                self.look()
        except (redis.RedisError, Error, OSError) as error:
            logger.warning("revocations not published", extra={"event": "revocations_not_published", "error": repr(error)})
        finally:
            connection.close()

    def _read_the_source(self) -> None:
        """A process that starts while Redis is away knows none; PostgreSQL does."""
        try:
            with quiet_patience(settings.DATABASE_REQUEST_PATIENCE_S):
                for row in publish.live():
                    self._take(publish.fields(row))
        except (Error, OSError) as error:
            logger.warning("revocations not known yet", extra={"event": "revocations_unknown", "error": repr(error)})
        finally:
            connection.close()


def _order(entry: str) -> tuple[int, int]:
    milliseconds, _, number = entry.partition("-")
    return int(milliseconds), int(number or 0)


@cache
def denials() -> Denials:
    """Those of this process."""
    return Denials(limits_client)
