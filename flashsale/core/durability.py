"""Whether a gate's Redis keeps what it has acknowledged: a 202 is an order, so the server may neither forget nor evict it."""

import logging
from collections.abc import Mapping
from typing import Any

import redis
from django.conf import settings

from flashsale.core.redis_client import gate_client

logger = logging.getLogger(__name__)
_EVICTS_NOTHING = "noeviction"


class GateNotDurable(Exception):
    """REDIS_URL names a server that may lose acknowledged orders."""


def faults(info: Mapping[str, Any]) -> list[str]:
    """What is wrong with a server for the gate, by its INFO; what that does not say is taken to be right."""
    found = []
    if str(info.get("aof_enabled", 1)) != "1":
        found.append("the append-only file is off (set `appendonly yes` and `appendfsync always`)")
    policy = str(info.get("maxmemory_policy", _EVICTS_NOTHING))
    if policy != _EVICTS_NOTHING:
        found.append(f"maxmemory-policy is {policy} (set `maxmemory-policy noeviction`)")
    return found


def refused_faults(info: Mapping[str, Any]) -> list[str]:
    """As :func:`faults`, where ``GATE_DURABILITY`` says that they are refused."""
    return faults(info) if settings.GATE_DURABILITY == "required" else []


def require_durable_gate() -> None:
    """For the start of a process. A server that cannot be asked now is not refused: it may only be late.

    Raises:
        GateNotDurable: it may lose acknowledged orders, and ``GATE_DURABILITY`` is ``required``.
    """
    try:
        found = faults(gate_client().info())
    except redis.RedisError as error:
        logger.warning("durability of the gate unknown", extra={"event": "gate_not_asked", "error": repr(error)})
        return
    _warn_of_late_writes()
    if not found:
        return
    text = f"REDIS_URL names a server that may lose acknowledged orders: {'; '.join(found)}"
    if settings.GATE_DURABILITY == "required":
        raise GateNotDurable(f"{text}. GATE_DURABILITY=warn starts all the same.")
    logger.critical(text, extra={"event": "gate_not_durable"})


def _warn_of_late_writes() -> None:
    """INFO does not tell ``appendfsync``, and who may not rule the server may not ask."""
    try:
        policy = gate_client().config_get("appendfsync").get("appendfsync", "always")
    except redis.RedisError:
        return
    if policy != "always":
        text = f"the gate has appendfsync {policy}: its crash may lose a second of acknowledged orders; set it to always"
        logger.critical(text, extra={"event": "gate_not_durable"})
