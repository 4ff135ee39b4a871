"""This process's limiter and rules."""

import os
import socket
from functools import cache

import redis
from django.conf import settings
from django.utils.module_loading import import_string
from redis.backoff import NoBackoff
from redis.retry import Retry

from flashsale.core.breaker import CircuitBreaker
from flashsale.core.steps import Steps, Trip
from flashsale.ratelimit.limit import Mode
from flashsale.ratelimit.limiter import Asked, Decision, Limiter
from flashsale.ratelimit.rule import Rule
from flashsale.ratelimit.ruleset import RuleSet
from flashsale.ratelimit.stores.redis_store import DECIDE, RedisStore, arguments, verdict


@cache
def limits_client() -> "redis.Redis":
    """The pooled client of the rate limits' Redis. Short timeouts and no retries, because a slow limit counts as failed."""
    return redis.Redis.from_url(
        settings.RATELIMIT_REDIS_URL,
        decode_responses=True,
        socket_connect_timeout=settings.RATELIMIT_TIMEOUT_S,
        socket_timeout=settings.RATELIMIT_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )


@cache
def limiter() -> Limiter:
    """The limiter of this process."""
    return Limiter(RedisStore(limits_client), breaker=CircuitBreaker(open_s=settings.RATELIMIT_OPEN_S))


def _nodes_changed(nodes: int) -> None:
    limiter().nodes = nodes


@cache
def _ruleset(pid: int) -> RuleSet:
    return RuleSet(
        limits_client,
        fleet=settings.FLEET,
        node=f"{socket.gethostname()}:{pid}",
        load=import_string(settings.RATELIMIT_RULES_SOURCE),
        on_rules=lambda: limiter().denied.forget(),
        on_nodes=_nodes_changed,
    )


def ruleset() -> RuleSet:
    """The active rules. A forked child is a separate node."""
    return _ruleset(os.getpid())


def rules_at(*places: str) -> list[Rule]:
    """The active rules for these places."""
    return ruleset().at(*places)


def deciding(asked: Asked, mode: Mode = "take") -> Steps[Decision]:
    """Decide these rules for one unit, all or nothing; see ``Limiter.check``. Never raises because Redis is gone."""
    prepared = limiter().prepare(asked, 1, mode)
    if isinstance(prepared, Decision):
        return prepared
    checks = prepared.checks
    try:
        reply = yield Trip(DECIDE, limits_client, [check.key for check in checks], arguments(checks, 1, mode, None))
    except (redis.RedisError, OSError) as error:
        return limiter().fail(prepared, error, mode)
    return limiter().conclude(prepared, verdict(reply))
