"""Brings revocations from PostgreSQL to Redis, where every process reads them. See ``docs/adr/0016``."""

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import redis
from django.conf import settings
from django.db import transaction

from flashsale.accounts.models import Revocation, TokenFamily
from flashsale.core.clock import now, to_us
from flashsale.ratelimit.in_process import limits_client

logger = logging.getLogger(__name__)
STREAM = "fs:{limits}:revoked"
PUBLISHED = "fs:{limits}:revoked:published"  # held while somebody publishes
_SERVER = "fs:{limits}:revoked:server"  # which run of Redis has got all of them
PUBLISHED_MS = 2_000
_CHUNK = 1_000


def lifetime() -> timedelta:
    """The longest that any credential can be good for; older revocations are forgotten."""
    return timedelta(seconds=settings.SESSION_COOKIE_AGE) + timedelta(minutes=5)


def live() -> list[Revocation]:
    """The revocations that may still refuse something, oldest first."""
    return list(Revocation.objects.filter(at__gte=now() - lifetime()).order_by("at"))


def publish() -> None:
    """Tell Redis what it has not been told: the new ones, or all of them when it has lost its own.

    May run twice and in several processes at once. A Redis that is away is only logged: the next call tries again.
    """
    try:
        limits_client().set(PUBLISHED, "1", px=PUBLISHED_MS)
        server = _server()
        if limits_client().get(_SERVER) != server or not limits_client().exists(STREAM):
            append(live())
            limits_client().set(_SERVER, server)
        while _publish_new() == _CHUNK:
            pass
    except redis.RedisError as error:
        logger.warning("revocations not published", extra={"event": "revocations_not_published", "error": repr(error)})


def sweep() -> None:
    """Publish, and forget what is over: one of the sweeps. May run twice."""
    publish()
    forget_old()


def _publish_new() -> int:
    with transaction.atomic():
        waiting = Revocation.objects.select_for_update(skip_locked=True).filter(is_published=False)
        rows = list(waiting.order_by("id")[:_CHUNK])
        if rows:
            append(rows)
            Revocation.objects.filter(pk__in=[row.pk for row in rows]).update(is_published=True)
    return len(rows)


def append(rows: Sequence[Revocation]) -> None:
    """Put revocations into Redis; a repetition does no harm.

    Raises:
        redis.RedisError: not all of them are there.
    """
    oldest_ms = to_us(now() - lifetime()) // 1000
    for start in range(0, len(rows), _CHUNK):
        pipe = limits_client().pipeline(transaction=False)
        for row in rows[start : start + _CHUNK]:
            pipe.xadd(STREAM, fields(row), minid=oldest_ms)
        pipe.execute()


def fields(row: Revocation) -> dict[Any, Any]:
    """A revocation as the entry of a stream; readers pass over what they do not know."""
    if row.session:
        return {"v": "1", "session": row.session}
    return {"v": "1", "user": str(row.user_id), "before": str(to_us(row.at))}


def _server() -> str:
    """This run of Redis; another one may have lost the last of what it was told."""
    try:
        return str(limits_client().info("server")["run_id"])
    except (redis.exceptions.ResponseError, KeyError):  # a user that may not ask
        return "unknown"


def forget_old() -> None:
    """Delete what can refuse or renew nothing any more, a bounded number at a time. May run twice."""
    old = Revocation.objects.filter(at__lt=now() - lifetime()).order_by("at")
    Revocation.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:_CHUNK])).delete()
    past = TokenFamily.objects.filter(expires_at__lt=now()).order_by("expires_at")
    TokenFamily.objects.filter(pk__in=list(past.values_list("pk", flat=True)[:_CHUNK])).delete()
