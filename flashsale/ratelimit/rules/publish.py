"""Publish the rules from the database to Redis, where every process reads them."""

import json
import logging
from hashlib import sha256

import redis
from django.db import close_old_connections, connection

from flashsale.ratelimit.breakers import RULES_KEY as BREAKERS_KEY
from flashsale.ratelimit.in_process import limits_client
from flashsale.ratelimit.rules.models import BreakerRule, LimitRule
from flashsale.ratelimit.ruleset import RULES_KEY, VERSION_KEY

logger = logging.getLogger(__name__)


def rules_text() -> str:
    """All rules as JSON."""
    return json.dumps([rule.as_rule().as_values() for rule in LimitRule.objects.order_by("pk")])


def load() -> str:
    """Read the rules from the database, for a process that found none in Redis."""
    close_old_connections()
    is_ours = connection.connection is None
    try:
        return publish()
    finally:
        if is_ours:  # close it here, because this process may run neither requests nor tasks
            connection.close()


def _publish_breakers() -> None:
    text = json.dumps({rule.name: rule.as_values() for rule in BreakerRule.objects.order_by("name")})
    if limits_client().get(BREAKERS_KEY) != text:
        limits_client().set(BREAKERS_KEY, text)


def publish() -> str:
    """Write the rules to Redis if they differ, and return them.

    May run twice. If Redis is down this is only logged, because a sweep repeats it.
    """
    text = rules_text()
    version = sha256(text.encode()).hexdigest()[:16]
    try:
        if limits_client().get(VERSION_KEY) != version:
            limits_client().mset({RULES_KEY: text, VERSION_KEY: version})
        _publish_breakers()
    except redis.RedisError as error:
        logger.warning("rules could not be published", extra={"event": "rules_not_published", "error": repr(error)})
    return text
