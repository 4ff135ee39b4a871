"""What gave up is written down for people, and can be run again."""

import json
import logging
from hashlib import sha256
from typing import Any

from celery import current_app
from django.conf import settings
from django.db import Error, connection
from django.db.models.functions import Now

from flashsale.core.errors import Refused
from tasks.models import DeadLetter

logger = logging.getLogger(__name__)


class CannotRunAgain(Refused):
    """This cannot be run again."""


def bury(task: str, args: list[Any], error: Exception, *, attempts: int, ended_by: str = "") -> bool:
    """Keep a step that gave up; the same step again only counts up. Never raises.

    Args:
        ended_by: who has ended what it holds already; the letter is closed then, and only told.

    Returns:
        whether the letter is written. Until it is, nobody may forget the only other record of what it holds.
    """
    fingerprint = sha256(json.dumps([task, args], sort_keys=True, default=str).encode()).hexdigest()
    queue = settings.CELERY_TASK_ROUTES[task]["queue"]
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO tasks_deadletter (task, queue, args, error_code, error, attempts, fingerprint, resolved_by, "
                "resolved_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, CASE WHEN %s THEN now() END) "
                "ON CONFLICT (fingerprint) WHERE resolved_at IS NULL DO UPDATE "
                "SET attempts = tasks_deadletter.attempts + excluded.attempts, error = excluded.error",
                [
                    task,
                    queue,
                    json.dumps(args, default=str).replace("\\u0000", "\\ufffd"),  # PostgreSQL holds no NUL
                    getattr(error, "code", type(error).__name__)[:64],
                    repr(error)[:4000].replace("\x00", "\ufffd"),
                    attempts,
                    fingerprint,
                    ended_by,
                    bool(ended_by),
                ],
            )
    except Error as failure:
        logger.error("dead letter lost", extra={"event": "dead_letter_lost", "task": task, "error": repr(failure)})
        return False
    return True


def run_again(letter: DeadLetter, actor: str) -> None:
    """Publish the step anew and close the letter; it comes back as a new one if it fails again.

    Raises:
        CannotRunAgain: nobody can read what is in it.
    """
    if letter.is_unreadable:
        raise CannotRunAgain
    current_app.send_task(letter.task, args=letter.args)
    close(letter, actor)


def close(letter: DeadLetter, actor: str) -> None:
    """Nothing is left to be done about it. May run twice; the first one is kept."""
    DeadLetter.objects.filter(pk=letter.pk, resolved_at=None).update(resolved_at=Now(), resolved_by=actor)
