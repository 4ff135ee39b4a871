"""Connections to the gate's Redis."""

from functools import cache

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry


@cache
def gate_client() -> "redis.Redis":
    """The process's pooled client of the gate.

    Answers are text. A connection that turned out dead is tried once more: every script is safe to repeat. A server that does
    not answer is not: whoever waits has waited ``REDIS_TIMEOUT_S`` then.
    """
    return redis.Redis.from_url(
        settings.REDIS_URL,
        decode_responses=True,
        socket_connect_timeout=settings.REDIS_CONNECT_TIMEOUT_S,
        socket_timeout=settings.REDIS_TIMEOUT_S,
        health_check_interval=settings.REDIS_HEALTH_CHECK_INTERVAL_S,
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
    )
