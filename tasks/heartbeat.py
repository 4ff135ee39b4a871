"""Workers and sweeps say that they are there, so that /health/ready can tell."""

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
_STUCK_S = 5  # without a turn of its event loop a worker takes no messages, whatever its other threads say
_KEY = "fs:workers:{}"
_SWEPT, _EVER_SWEPT = "fs:workers:swept", "fs:workers:swept-ever"
_SWEPT_LIFE_S, _EVER_SWEPT_LIFE_S = 15, 3600
_TROUBLE = "fs:workers:trouble"
_TROUBLE_LIFE_S = 5
_LONGEST_TROUBLE = 200
_RESOURCES = ("53", "58", "XX")  # classes of SQLSTATE: a full disk, say, that only who writes notices


class Pulse:
    """When an event loop had its last turn."""

    def __init__(self) -> None:
        self._beaten_at = time.monotonic()

    def beat(self) -> None:
        """Called by the loop."""
        self._beaten_at = time.monotonic()

    @property
    def is_stuck(self) -> bool:
        """Whether that is too long ago."""
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
    """Keys with their value and life in seconds."""
    try:
        pipe = gate_client().pipeline(transaction=False)
        for key, (value, life_s) in values.items():
            pipe.set(key, value, ex=life_s)
        pipe.execute()
    except redis.RedisError:
        pass  # ready reports the Redis itself


def queues_without_worker() -> list[str]:
    """Queues that no worker has reported for in the last seconds."""
    pipe = gate_client().pipeline(transaction=False)
    for queue in settings.QUEUES:
        pipe.get(_KEY.format(queue))
    return [queue for queue, seen in zip(settings.QUEUES, pipe.execute(), strict=True) if not seen]


class _Swept:
    """Seven sweeps a second in each of two processes: one of them says it for all."""

    said_at = 0.0


def swept() -> None:
    """A sweep has run."""
    if time.monotonic() - _Swept.said_at >= 1:
        _Swept.said_at = time.monotonic()
        _say({_SWEPT: ("1", _SWEPT_LIFE_S), _EVER_SWEPT: ("1", _EVER_SWEPT_LIFE_S)})


def sweeps_have_stopped() -> bool:
    """Whether sweeps ran within the last hour, and none has for some seconds."""
    now, ever = gate_client().mget(_SWEPT, _EVER_SWEPT)
    return now is None and ever is not None


def note_trouble(error: BaseException) -> None:
    """Tell of an error of the ledger that reading it does not show."""
    code = sqlstate(error)
    if code.startswith(_RESOURCES):
        text = (str(error).strip() or repr(error)).splitlines()[0]
        _say({_TROUBLE: (f"{text[:_LONGEST_TROUBLE]} ({code})", _TROUBLE_LIFE_S)})


def ledger_trouble(client: "redis.Redis") -> str:
    """What was noted in the last seconds.

    Raises:
        redis.RedisError: the gate does not say.
    """
    return str(client.get(_TROUBLE) or "")
