"""Workers say that they are there, so that /health/ready can tell."""

import threading
from typing import Any

from celery.signals import worker_ready
from django.conf import settings

from flashsale.core.redis_client import gate_client
from flashsale.ratelimit.in_process import ruleset

_EVERY_S = 3
_LIFE_S = 12
_KEY = "fs:workers:{}"


@worker_ready.connect
def _start(sender: Any = None, **_: Any) -> None:
    ruleset().keep_fresh()
    queues = sorted(sender.app.amqp.queues.consume_from)
    threading.Thread(target=_beat, args=(queues, threading.Event()), daemon=True, name="heartbeat").start()


def _beat(queues: list[str], stop: threading.Event) -> None:
    import redis

    while True:
        try:
            pipe = gate_client().pipeline(transaction=False)
            for queue in queues:
                pipe.set(_KEY.format(queue), "1", ex=_LIFE_S)
            pipe.execute()
        except redis.RedisError:
            pass  # ready reports the Redis itself
        stop.wait(_EVERY_S)


def queues_without_worker() -> list[str]:
    """Queues that no worker has reported for in the last seconds."""
    pipe = gate_client().pipeline(transaction=False)
    for queue in settings.QUEUES:
        pipe.get(_KEY.format(queue))
    return [queue for queue, seen in zip(settings.QUEUES, pipe.execute(), strict=True) if not seen]
