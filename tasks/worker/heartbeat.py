"""Heartbeats of workers and sweeps in Redis, read by /health/ready."""

import threading
import time
from typing import Any

import redis
from celery.signals import worker_ready
from django.conf import settings

from flashsale.core.database.sqlstate import sqlstate
from flashsale.core.redis_client import gate_client
from flashsale.ratelimit.in_process import ruleset

_EVERY_S = 2
_LIFE_S = 8
_STUCK_S = 5  # a worker whose event loop has not run for this long takes no messages, even if its other threads run
_KEY = "fs:workers:{}"
_SWEPT, _EVER_SWEPT = "fs:workers:swept", "fs:workers:swept-ever"
_SWEPT_LIFE_S, _EVER_SWEPT_LIFE_S = 15, 3600
_TROUBLE = "fs:workers:trouble"
_TROUBLE_LIFE_S = 5
_LONGEST_TROUBLE = 200
_RESOURCES = ("53", "58", "XX")  # SQLSTATE classes that only writes reveal, such as a full disk


class Pulse:
    """The time at which an event loop last ran."""

    def __init__(self) -> None:
        self._beaten_at = time.monotonic()

    def beat(self) -> None:
        """Record a run. Called by the loop."""
        self._beaten_at = time.monotonic()

    @property
    def is_stuck(self) -> bool:
        """Whether the last run is too long ago."""
        return time.monotonic() - self._beaten_at > _STUCK_S


@worker_ready.connect
def _start(sender: Any = None, **_: Any) -> None:
    ruleset().keep_fresh()
    queues = sorted(sender.app.amqp.queues.consume_from)
    pulse = Pulse()
    sender.timer.call_repeatedly(1.0, pulse.beat)
    threading.Thread(target=_report, args=(queues, pulse, threading.Event()), daemon=True, name="heartbeat").start()


def _report(queues: list[str], pulse: Pulse, stop: threading.Event) -> None:
    while not stop.is_set():
        if not pulse.is_stuck:
            _say({_KEY.format(queue): ("1", _LIFE_S) for queue in queues})
        stop.wait(_EVERY_S)


def _say(values: dict[str, tuple[str, int]]) -> None:
    """Set keys to (value, TTL in seconds)."""
    try:
        pipe = gate_client().pipeline(transaction=False)
        for key, (value, life_s) in values.items():
            pipe.set(key, value, ex=life_s)
        pipe.execute()
    except redis.RedisError:
        pass  # /health/ready reports a Redis failure itself


def queues_without_worker() -> list[str]:
    """Queues without a recent heartbeat of a worker."""
    pipe = gate_client().pipeline(transaction=False)
    for queue in settings.QUEUES:
        pipe.get(_KEY.format(queue))
    return [queue for queue, seen in zip(settings.QUEUES, pipe.execute(), strict=True) if not seen]


class _Swept:
    """Limits the heartbeats: with seven sweeps per second and process, one write is enough for all."""

    said_at = 0.0


def swept() -> None:
    """Record that a sweep has run."""
    if time.monotonic() - _Swept.said_at >= 1:
        _Swept.said_at = time.monotonic()
        _say({_SWEPT: ("1", _SWEPT_LIFE_S), _EVER_SWEPT: ("1", _EVER_SWEPT_LIFE_S)})


def sweeps_have_stopped() -> bool:
    """Whether sweeps ran within the last hour but not within the last seconds."""
    now, ever = gate_client().mget(_SWEPT, _EVER_SWEPT)
    return now is None and ever is not None


def note_trouble(error: BaseException) -> None:
    """Record a PostgreSQL error that only writes reveal."""
    code = sqlstate(error)
    if code.startswith(_RESOURCES):
        text = (str(error).strip() or repr(error)).splitlines()[0]
        _say({_TROUBLE: (f"{text[:_LONGEST_TROUBLE]} ({code})", _TROUBLE_LIFE_S)})


def ledger_trouble(client: "redis.Redis") -> str:
    """The PostgreSQL error recorded in the last seconds, or an empty string.

    Raises:
        redis.RedisError: Redis cannot be reached.
    """
    return str(client.get(_TROUBLE) or "")
