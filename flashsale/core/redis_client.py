"""Client of the gate's Redis."""

from functools import cache

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry


@cache
def gate_client() -> "redis.Redis":
    """The process's pooled client of the gate's Redis. Answers are decoded to text.

    A command on a dead connection is retried once, which is safe because every script may run twice. A timeout is not retried:
    the caller has already waited ``REDIS_TIMEOUT_S``.
    """
    return redis.Redis.from_url(
        settings.REDIS_URL,
        decode_responses=True,
        socket_connect_timeout=settings.REDIS_CONNECT_TIMEOUT_S,
        socket_timeout=settings.REDIS_TIMEOUT_S,
        health_check_interval=settings.REDIS_HEALTH_CHECK_INTERVAL_S,
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
    )
