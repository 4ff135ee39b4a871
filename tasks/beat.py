"""Beat's scheduler: a broker that is away or stands still costs it a moment, never its life."""

from typing import Any

from celery.beat import PersistentScheduler

from flashsale.core import messages


class BoundedScheduler(PersistentScheduler):
    """Celery's scheduler, that publishes as every process here does: within ``messages.WAIT_S``, on a connection it can renew.

    A message that cannot be sent is not sent later: the schedule's next one is due within a second.
    """

    producer: Any = None  # Celery's would wait for the broker

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **_: Any) -> None:
        """Publish what is due. Never raises."""
        entry = self.reserve(entry) if advance else entry
        messages.publish(entry.task, *entry.args, **entry.options)
