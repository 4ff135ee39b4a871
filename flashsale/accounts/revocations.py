"""Publish revocations from PostgreSQL to Redis, where every process reads them. See ``docs/adr/0016``."""

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
PUBLISHED = "fs:{limits}:revoked:published"  # lock of the publisher
_SERVER = "fs:{limits}:revoked:server"  # run id of the Redis that has all revocations
PUBLISHED_MS = 2_000
_CHUNK = 1_000


def lifetime() -> timedelta:
    """The longest lifetime of any credential. Older revocations are deleted."""
    return timedelta(seconds=settings.SESSION_COOKIE_AGE) + timedelta(minutes=5)


def live() -> list[Revocation]:
    """Revocations that may still apply to a valid credential, oldest first."""
    return list(Revocation.objects.filter(at__gte=now() - lifetime()).order_by("at"))


def publish() -> None:
    """Publish new revocations, or all of them if Redis has lost its data.

    May run twice and concurrently. If Redis is down, this is only logged; the next call tries again.
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
        logger.warning("revocations could not be published", extra={"event": "revocations_not_published", "error": repr(error)})


def sweep() -> None:
    """Publish revocations and delete expired ones. Runs as a sweep. May run twice."""
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
    """Append revocations to the stream in Redis. May run twice.

    Raises:
        redis.RedisError: some of them may be missing.
    """
    oldest_ms = to_us(now() - lifetime()) // 1000
    for start in range(0, len(rows), _CHUNK):
        pipe = limits_client().pipeline(transaction=False)
        for row in rows[start : start + _CHUNK]:
            pipe.xadd(STREAM, fields(row), minid=oldest_ms)
        pipe.execute()


def fields(row: Revocation) -> dict[Any, Any]:
    """A revocation as a stream entry. Readers ignore unknown fields."""
    if row.session:
        return {"v": "1", "session": row.session}
    return {"v": "1", "user": str(row.user_id), "before": str(to_us(row.at))}


def _server() -> str:
    """The run id of Redis. After a restart it may have lost the latest entries."""
    try:
        return str(limits_client().info("server")["run_id"])
    except (redis.exceptions.ResponseError, KeyError):  # the user has no permission for INFO
        return "unknown"


def forget_old() -> None:
    """Delete expired revocations and token families, a bounded number per call. May run twice."""
    old = Revocation.objects.filter(at__lt=now() - lifetime()).order_by("at")
    Revocation.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:_CHUNK])).delete()
    past = TokenFamily.objects.filter(expires_at__lt=now()).order_by("expires_at")
    TokenFamily.objects.filter(pk__in=list(past.values_list("pk", flat=True)[:_CHUNK])).delete()
