"""The one retry policy: what a batch does when a part of the system is away."""

import inspect
import logging
import random
from typing import Any

from celery import Task
from django.db import InterfaceError, OperationalError, close_old_connections

from flashsale.core import messages
from flashsale.core.errors import Unavailable
from flashsale.core.metrics import STEP_SECONDS, STEPS_GIVEN_UP
from tasks import dead_letters, unread

logger = logging.getLogger(__name__)

TRANSIENT = (OperationalError, InterfaceError, Unavailable)
_LONGEST_PAUSE_S = 20
_RETRIES = 5


class Step(Task):  # type: ignore[type-arg]
    """A pipeline step: retried with full jitter while a part is away; then the sweeps go on with what it held.

    Retrying makes things quicker, not safer: what a step gave up on stands in a row or the stream, and a sweep finds it.
    A dead letter is of an error that no waiting heals.
    """

    autoretry_for = TRANSIENT
    retry_backoff = 1
    retry_backoff_max = _LONGEST_PAUSE_S
    retry_jitter = True
    max_retries = _RETRIES
    typing = False  # or a message that another release has sent could not be given back to the queue

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:  # type: ignore[override]
        """Publish, with the headers of ``messages.stamped``.

        Raises:
            kombu.exceptions.OperationalError: not sent.
        """
        options["headers"] = messages.stamped(args or (), options.get("headers"))
        try:
            return super().apply_async(args, kwargs, **options)
        except AttributeError as error:  # kombu 5.7, on the channel of a connection that was lost meanwhile
            raise messages.MessageNotSent(repr(error)) from error

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the step, timed; a message that only another release can read is given back to the queue for it."""
        if not self._can_read(args, kwargs):
            unread.count("message", [self.name])
            raise self.retry(exc=unread.UnreadMessage(), countdown=random.uniform(0.5, 5), headers=self._headers())  # noqa: S311
        with STEP_SECONDS.labels(self.name).time():
            return super().__call__(*args, **kwargs)

    def _headers(self) -> dict[str, Any]:
        return {"v": self._version()}

    def _version(self) -> int:
        version: int = self.request.get("v") or 1
        return version

    def _can_read(self, args: Any, kwargs: Any) -> bool:
        if self._version() > messages.VERSION:
            return False
        try:
            inspect.signature(self.run).bind(*args, **kwargs)
        except TypeError:
            return False
        return True

    def on_failure(self, exc: Exception, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called by Celery once the retries are used up, and when a step is done and its next message could not be sent.

        Neither is for people: nobody could do more than the sweep that finds the row or stream entry.
        """
        STEPS_GIVEN_UP.labels(self.name).inc()
        if isinstance(exc, (*TRANSIENT, messages.MessageNotSent)) and not isinstance(exc, unread.UnreadMessage):
            logger.warning(
                "step left to the sweeps", extra={"event": "step_left_to_sweeps", "task": self.name, "error": repr(exc)}
            )
            return
        close_old_connections()
        logger.error("step gave up", extra={"event": "step_gave_up", "task": self.name, "error": repr(exc)})
        dead_letters.bury(self.name, list(args), exc, attempts=self.request.retries + 1)
