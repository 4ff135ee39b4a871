"""Celery beat scheduler that survives a broker that is down or frozen."""

from typing import Any

from celery.beat import PersistentScheduler

from flashsale.core import messages


class BoundedScheduler(PersistentScheduler):
    """Publishes within ``messages.WAIT_S`` on a connection that can be renewed.

    A message that cannot be sent is dropped; the schedule sends the next one within a second.
    """

    producer: Any = None  # Celery's own producer would block on the broker

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **_: Any) -> None:
        """Publish a due entry. Never raises."""
        entry = self.reserve(entry) if advance else entry
        messages.publish(entry.task, *entry.args, **entry.options)
