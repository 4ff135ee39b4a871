"""The circuit breakers of outgoing calls, by name. Their rules come from the admin, where their state is shown too.

A breaker belongs to one process: what it has not seen itself does not open it.
"""

import json
import logging
import os
import socket
import threading
import time
from dataclasses import fields
from functools import cache, partial

import redis

from flashsale.core.breaker import BreakerLimits, CircuitBreaker, State
from flashsale.core.metrics import BREAKER_CHANGES
from flashsale.ratelimit.in_process import limits_client

logger = logging.getLogger(__name__)
RULES_KEY = "fs:{limits}:breakers"
STATES_KEY = "fs:{limits}:breaker-states"
DEFAULT = BreakerLimits(
    failures=0, error_ratio=0.5, slow_ratio=0.8, slow_s=5.0, window_s=30.0, min_calls=20, open_s=10.0, probes=3
)
_REFRESH_S = 0.5
_SHOWN_S = 600  # a process that has not changed its breaker for longer is not shown as open
_FIELDS = frozenset(each.name for each in fields(BreakerLimits))


@cache
def _breaker(name: str) -> CircuitBreaker:
    return CircuitBreaker(limits=DEFAULT, on_change=partial(_changed, name))


def breaker(name: str) -> CircuitBreaker:
    """The breaker of this process for these calls, under the rule in force; one without a rule has ``DEFAULT``."""
    _Rules.look()
    found = _breaker(name)
    found.limits = _Rules.in_force.get(name, DEFAULT)
    return found


class _Rules:
    in_force: dict[str, BreakerLimits] = {}
    _looked_at = -_REFRESH_S
    _lock = threading.Lock()

    @classmethod
    def look(cls) -> None:
        if time.monotonic() - cls._looked_at < _REFRESH_S or not cls._lock.acquire(blocking=False):
            return
        try:
            cls._looked_at = time.monotonic()
            cls.in_force = parse(str(limits_client().get(RULES_KEY) or "{}"))
        except (redis.RedisError, ValueError, TypeError, AttributeError) as error:  # the last ones stay in force
            logger.warning("breaker rules cannot be read", extra={"event": "breaker_rules_unreadable", "error": repr(error)})
        finally:
            cls._lock.release()


def parse(text: str) -> dict[str, BreakerLimits]:
    """Published rules by name. A field that a newer release has added is left out."""
    return {
        name: BreakerLimits(**{field: value for field, value in values.items() if field in _FIELDS})
        for name, values in json.loads(text).items()
    }


def _changed(name: str, state: State) -> None:
    """Tell logs, metrics and admin. In a thread: the caller holds the breaker's lock."""
    BREAKER_CHANGES.labels(name, state).inc()
    logger.warning("circuit breaker changed", extra={"event": "breaker_changed", "breaker": name, "state": state})
    threading.Thread(target=_show, args=(name, state, time.time()), daemon=True).start()


def _show(name: str, state: State, at: float) -> None:
    field = f"{name} {socket.gethostname()}:{os.getpid()}"
    try:
        if state == "closed":
            limits_client().hdel(STATES_KEY, field)
        else:
            limits_client().hset(STATES_KEY, field, json.dumps({"state": state, "at": at}))
    except redis.RedisError:
        pass  # the metrics and the log have it


def shown_state(name: str) -> str:
    """What the processes say of a breaker: ``closed``, or how many have it open or half-open; empty when it cannot be read."""
    try:
        states = limits_client().hgetall(STATES_KEY)
    except redis.RedisError:
        return ""
    said = [json.loads(value) for field, value in states.items() if str(field).startswith(f"{name} ")]
    fresh = [each["state"] for each in said if time.time() - each["at"] < _SHOWN_S]
    return ", ".join(f"{state} in {fresh.count(state)}" for state in ("open", "half-open") if state in fresh) or "closed"
