"""The retry policy of all steps."""

import inspect
import logging
import random
from typing import Any

from celery import Task
from django.db import InterfaceError, OperationalError, close_old_connections

from flashsale.core import messages
from flashsale.core.errors import Unavailable
from flashsale.core.metrics import STEP_SECONDS, STEPS_GIVEN_UP
from tasks.repair import dead_letters, unread

logger = logging.getLogger(__name__)

TRANSIENT = (OperationalError, InterfaceError, Unavailable)
_LONGEST_PAUSE_S = 20
_RETRIES = 5


class Step(Task):  # type: ignore[type-arg]
    """A pipeline step. It is retried with full jitter while a service is down; after that, sweeps continue its work.

    Retries save time but are not needed for safety: every step's work is also in a row or the stream, where a sweep finds it.
    Dead letters are written only for errors that retries cannot solve.
    """

    autoretry_for = TRANSIENT
    retry_backoff = 1
    retry_backoff_max = _LONGEST_PAUSE_S
    retry_jitter = True
    max_retries = _RETRIES
    typing = False  # otherwise a message of another release could not be returned to the queue

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:  # type: ignore[override]
        """Publish the step with the headers of ``messages.stamped``.

        Raises:
            kombu.exceptions.OperationalError: the message was not sent.
        """
        options["headers"] = messages.stamped(args or (), options.get("headers"))
        try:
            return super().apply_async(args, kwargs, **options)
        except AttributeError as error:  # raised by kombu 5.7 on the channel of a lost connection
            raise messages.MessageNotSent(repr(error)) from error

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the step and measure its time. A message that only another release can read is returned to the queue."""
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
        """Called by Celery after the last retry, and if the message of the next step could not be sent.

        Neither needs staff: a sweep finds the row or stream entry.
        """
        STEPS_GIVEN_UP.labels(self.name).inc()
        if isinstance(exc, (*TRANSIENT, messages.MessageNotSent)) and not isinstance(exc, unread.UnreadMessage):
            logger.warning(
                "step left to the sweeps", extra={"event": "step_left_to_sweeps", "task": self.name, "error": repr(exc)}
            )
            return
        close_old_connections()
        logger.error("step gave up", extra={"event": "step_gave_up", "task": self.name, "error": repr(exc)})
        dead_letters.dead_letter(self.name, list(args), exc, attempts=self.request.retries + 1)
