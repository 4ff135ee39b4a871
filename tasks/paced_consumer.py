"""The worker's consumer: a message waits for the departure that its queue's pace gives it, without holding a process.

Celery's own ``rate_limit`` is per worker and arms one more timer for every message that waits; here a queue has one bucket,
one booking and one timer. A message that waits stays unacknowledged: a worker that dies meanwhile gives it back.
"""

import time
from collections import deque
from typing import Any

from celery.worker.consumer import Consumer

from tasks import pace
from tasks.retry import Step

# Past it the rest of the queue stays in the broker and what is held takes up no prefetch, so that this worker has hands free
# for its other queues. Below it, pausing would cost more than it gives.
_LONG_HOLD_S = 0.03


class QueueBucket:
    """The messages of one queue that wait for their departure, in order."""

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self.contents: deque[tuple[Any, int]] = deque()
        self.departs_at: float | None = None
        self.is_armed = False
        self.is_paused = False
        self.lifted = 0  # held messages that the prefetch was raised for

    def add(self, item: tuple[Any, int]) -> None:
        """One more message."""
        self.contents.append(item)

    def clear_pending(self) -> None:
        """The connection is gone, and the messages with it."""
        self.contents.clear()
        self.departs_at, self.is_armed, self.is_paused, self.lifted = None, False, False, 0


class PacedConsumer(Consumer):
    """A :class:`celery.worker.consumer.Consumer` whose rate limits are global, per queue, and in orders."""

    qos: Any
    task_consumer: Any
    timer: Any
    _limit_move_to_pool: Any

    def bucket_for_task(self, type: Any) -> QueueBucket | None:
        """The bucket of the task's queue; the dispatcher asks for itself, sweeps are not limited."""
        queue = self.app.conf.task_routes.get(type.name, {}).get("queue")
        if not isinstance(type, Step) or queue in (None, "dispatch"):
            return None
        buckets = self.__dict__.setdefault("_buckets", {})
        return buckets.setdefault(queue, QueueBucket(queue))  # type: ignore[no-any-return]

    def _limit_task(self, request: Any, bucket: QueueBucket, tokens: int) -> None:
        bucket.add((request, int(request.request_dict.get("units") or tokens)))
        self._schedule_bucket_request(bucket)

    def _limit_post_eta(self, request: Any, bucket: QueueBucket, tokens: int) -> None:
        self.qos.decrement_eventually()
        self._limit_task(request, bucket, tokens)

    def _schedule_bucket_request(self, bucket: QueueBucket) -> None:
        if bucket.is_armed:
            if bucket.is_paused:
                self._lift(bucket)
            return
        while bucket.contents:
            request, units = bucket.contents[0]
            wait_s = self._wait_s(bucket, units)
            if wait_s > 0:
                self._pause_if_long(bucket, wait_s)
                bucket.is_armed = True
                self.timer.call_after(wait_s, self._depart, (bucket,))
                return
            bucket.contents.popleft()
            bucket.departs_at = None
            self._lower(bucket)
            self._limit_move_to_pool(request)
        self._resume(bucket)

    def _depart(self, bucket: QueueBucket) -> None:
        bucket.is_armed = False
        self._schedule_bucket_request(bucket)

    @staticmethod
    def _wait_s(bucket: QueueBucket, units: int) -> float:
        if bucket.departs_at is None:
            wait_s, booked = pace.book(bucket.queue, units)
            if not booked:
                return wait_s
            bucket.departs_at = time.monotonic() + wait_s
        return bucket.departs_at - time.monotonic()

    def _pause_if_long(self, bucket: QueueBucket, wait_s: float) -> None:
        if wait_s <= _LONG_HOLD_S:
            return
        self._lift(bucket)
        if not bucket.is_paused:
            bucket.is_paused = True
            self.task_consumer.cancel_by_queue(bucket.queue)

    def _resume(self, bucket: QueueBucket) -> None:
        if bucket.is_paused:
            bucket.is_paused = False
            self.task_consumer.add_queue(self.app.amqp.queues[bucket.queue])
            self.task_consumer.consume()

    def _lift(self, bucket: QueueBucket) -> None:
        """Raise the prefetch by every held message."""
        held = len(bucket.contents) - bucket.lifted
        bucket.lifted += held
        self.qos.increment_eventually(held)

    def _lower(self, bucket: QueueBucket) -> None:
        """One message is held no longer."""
        if bucket.lifted:
            bucket.lifted -= 1
            self.qos.decrement_eventually()
