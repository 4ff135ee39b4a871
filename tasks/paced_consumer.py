"""The worker's consumer: a message waits for its departure in the broker, not in a process and not in the worker.

Celery's own ``rate_limit`` is per worker and arms one more timer for every message that waits; here a queue has one bucket
over all workers, and in each of them one timer. A worker books a departure for whichever message will be the first of the
queue then, and takes none before; one that dies meanwhile holds nothing.
"""

import math
from collections import deque
from typing import Any

from celery.bootsteps import RUN  # type: ignore[attr-defined]
from celery.worker import state
from celery.worker.consumer import Consumer

from tasks import taking
from tasks.departures import Departures
from tasks.retry import Step

# Below it a message waits in the worker: to give it back and fetch it again would cost more than it gives.
_LONG_WAIT_S = 0.03
_LONGEST_SLEEP_S = 0.5  # a changed rule is noticed within it


class PacedQueue:
    """A queue as this worker sees it: the messages that leave within moments, in order, and whether more are taken."""

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self.contents: deque[tuple[Any, int]] = deque()
        self.departures = Departures(queue)
        self.is_armed = False
        self.is_paused = False

    def clear_pending(self) -> None:
        """The connection is gone, and the messages with it; what was booked serves the next ones."""
        self.contents.clear()
        self.is_armed = self.is_paused = False


class PacedConsumer(Consumer):
    """A :class:`celery.worker.consumer.Consumer` whose rate limits are global, per queue, and in orders."""

    blueprint: Any
    task_consumer: Any
    timer: Any
    qos: Any
    _limit_move_to_pool: Any

    def bucket_for_task(self, type: Any) -> PacedQueue | None:
        """The task's queue, if it is paced; the dispatcher asks for itself, sweeps are not limited."""
        queue = self.app.conf.task_routes.get(type.name, {}).get("queue")
        if not isinstance(type, Step) or queue in (None, "dispatch"):
            return None
        queues = self.__dict__.setdefault("_paced_queues", {})
        return queues.setdefault(queue, PacedQueue(queue))  # type: ignore[no-any-return]

    def _limit_task(self, request: Any, bucket: PacedQueue, tokens: int) -> None:
        self._take(request, bucket, tokens)
        if bucket.is_paused:
            # Only here: nothing waits for messages now, so none can be popped for a queue that is no longer consumed.
            taking.note_client_id(self.task_consumer.channel)
            self.task_consumer.cancel_by_queue(bucket.queue)

    def _limit_post_eta(self, request: Any, bucket: PacedQueue, tokens: int) -> None:
        self.qos.decrement_eventually()
        self._take(request, bucket, tokens)

    def _take(self, request: Any, bucket: PacedQueue, tokens: int) -> None:
        bucket.contents.append((request, int(request.request_dict.get("units") or tokens)))
        if bucket.is_paused:
            self._pause(bucket)
        elif not bucket.is_armed:
            self._let_leave(bucket)

    def _let_leave(self, bucket: PacedQueue) -> None:
        while bucket.contents:
            request, orders = bucket.contents[0]
            wait_s = bucket.departures.wait_s(orders)
            if wait_s > 0:
                self._wait(bucket, wait_s)
                return
            bucket.contents.popleft()
            bucket.departures.leave(orders)
            self._limit_move_to_pool(request)
        # A queue that is paused is not taken from again before its departure is booked.
        wait_s = bucket.departures.next_s(unless_within=-math.inf if bucket.is_paused else _LONG_WAIT_S)
        if wait_s > (0 if bucket.is_paused else _LONG_WAIT_S):
            self._wait(bucket, wait_s)
        else:
            self._resume(bucket)

    def _wait(self, bucket: PacedQueue, wait_s: float) -> None:
        if wait_s > _LONG_WAIT_S:
            self._pause(bucket)
        bucket.is_armed = True
        self.timer.call_after(min(wait_s, _LONGEST_SLEEP_S), self._wake, (bucket,))

    def _wake(self, bucket: PacedQueue) -> None:
        bucket.is_armed = False
        if self.blueprint.state == RUN:
            self._let_leave(bucket)

    def _pause(self, bucket: PacedQueue) -> None:
        """Hold nothing, and take nothing until the next departure."""
        bucket.is_paused = True
        while bucket.contents:
            request, _ = bucket.contents.pop()
            state.task_ready(request)
            taking.put_back(request.message)

    def _resume(self, bucket: PacedQueue) -> None:
        if not bucket.is_paused:
            return
        bucket.is_paused = False
        queues = self.app.amqp.queues
        if bucket.queue in queues.consume_from and not self.task_consumer.consuming_from(bucket.queue):
            self.task_consumer.add_queue(queues[bucket.queue])
            self.task_consumer.consume()
            taking.look_again(self.task_consumer.channel)
