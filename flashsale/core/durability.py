"""Check that the gate's Redis cannot lose acknowledged orders through its persistence or eviction settings."""

import logging
from collections.abc import Mapping
from typing import Any

import redis
from django.conf import settings

from flashsale.core.redis_client import gate_client

logger = logging.getLogger(__name__)
_EVICTS_NOTHING = "noeviction"


class GateNotDurable(Exception):
    """The Redis at REDIS_URL may lose acknowledged orders."""


def faults(info: Mapping[str, Any]) -> list[str]:
    """Unsuitable settings of the server, according to INFO. Missing values count as correct."""
    found = []
    if str(info.get("aof_enabled", 1)) != "1":
        found.append("the append-only file is off (set `appendonly yes` and `appendfsync always`)")
    policy = str(info.get("maxmemory_policy", _EVICTS_NOTHING))
    if policy != _EVICTS_NOTHING:
        found.append(f"maxmemory-policy is {policy} (set `maxmemory-policy noeviction`)")
    return found


def refused_faults(info: Mapping[str, Any]) -> list[str]:
    """Like :func:`faults`, but empty unless ``GATE_DURABILITY`` is ``required``."""
    return faults(info) if settings.GATE_DURABILITY == "required" else []


def require_durable_gate() -> None:
    """Check at process start. A server that cannot be reached is accepted, because it may still be starting.

    Raises:
        GateNotDurable: it may lose acknowledged orders, and ``GATE_DURABILITY`` is ``required``.
    """
    try:
        found = faults(gate_client().info())
    except redis.RedisError as error:
        logger.warning("durability of the gate could not be checked", extra={"event": "gate_not_asked", "error": repr(error)})
        return
    _warn_of_late_writes()
    if not found:
        return
    text = f"the Redis at REDIS_URL may lose acknowledged orders: {'; '.join(found)}"
    if settings.GATE_DURABILITY == "required":
        raise GateNotDurable(f"{text}. Set GATE_DURABILITY=warn to start anyway.")
    logger.critical(text, extra={"event": "gate_not_durable"})


def _warn_of_late_writes() -> None:
    """Warn about ``appendfsync``. INFO does not contain it, and CONFIG GET may not be permitted."""
    try:
        policy = gate_client().config_get("appendfsync").get("appendfsync", "always")
    except redis.RedisError:
        return
    if policy != "always":
        text = f"the gate has appendfsync {policy}: a crash may lose a second of acknowledged orders; set it to always"
        logger.critical(text, extra={"event": "gate_not_durable"})
