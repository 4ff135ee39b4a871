"""Worker consumer with a global rate limit per queue. Messages wait in the broker, not in the worker.

Celery's own ``rate_limit`` counts per worker and starts a timer for every waiting message. Here a queue has one bucket for
all workers, and each worker has one timer. A worker reserves a slot for its next message and takes no message before the
slot is due. If it dies meanwhile, it holds nothing.
"""

import math
from collections import deque
from typing import Any

from celery.bootsteps import RUN  # type: ignore[attr-defined]
from celery.worker import state
from celery.worker.consumer import Consumer

from tasks.worker import taking
from tasks.worker.reserved_slots import ReservedSlots
from tasks.worker.retry import Step

# For shorter waits the message stays in the worker, because returning and fetching it again costs more.
_LONG_WAIT_S = 0.03
_LONGEST_SLEEP_S = 0.5  # a changed rule takes effect within this time


class PacedQueue:
    """A worker's view of a queue: the messages that start in a moment, in order, and whether it takes more."""

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self.contents: deque[tuple[Any, int]] = deque()
        self.reserved_slots = ReservedSlots(queue)
        self.is_armed = False
        self.is_paused = False

    def clear_pending(self) -> None:
        """Drop the messages after a lost connection. Their slots are used for the next messages."""
        self.contents.clear()
        self.is_armed = self.is_paused = False


class PacedConsumer(Consumer):
    """A :class:`celery.worker.consumer.Consumer` with global rate limits per queue, counted in orders."""

    blueprint: Any
    task_consumer: Any
    timer: Any
    qos: Any
    _limit_move_to_pool: Any

    def bucket_for_task(self, type: Any) -> PacedQueue | None:
        """The task's queue if it is paced. The dispatcher requests its own pace, and sweeps are not limited."""
        queue = self.app.conf.task_routes.get(type.name, {}).get("queue")
        if not isinstance(type, Step) or queue in (None, "dispatch"):
            return None
        queues = self.__dict__.setdefault("_paced_queues", {})
        return queues.setdefault(queue, PacedQueue(queue))  # type: ignore[no-any-return]

    def _limit_task(self, request: Any, bucket: PacedQueue, tokens: int) -> None:
        self._take(request, bucket, tokens)
        if bucket.is_paused:
            # Safe only here: no blocking read is active, so no message can arrive for a queue that is no longer consumed.
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
            wait_s = bucket.reserved_slots.wait_s(orders)
            if wait_s > 0:
                self._wait(bucket, wait_s)
                return
            bucket.contents.popleft()
            bucket.reserved_slots.leave(orders)
            self._limit_move_to_pool(request)
        # A paused queue is not consumed again until a slot is reserved.
        wait_s = bucket.reserved_slots.next_s(unless_within=-math.inf if bucket.is_paused else _LONG_WAIT_S)
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
        """Return all messages and take none until the next slot."""
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
