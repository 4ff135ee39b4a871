"""Dead letters: failed steps that staff can run again or reject."""

import json
import logging
from contextlib import suppress
from hashlib import sha256
from typing import Any

from django.conf import settings
from django.db import DataError, Error, IntegrityError, connection, transaction
from django.db.models.functions import Now

from flashsale.core import messages
from flashsale.core.errors import Refused
from inventory.admission import gate
from inventory.admission.admitted import read
from inventory.errors import GateUnavailable
from orders import services
from orders.errors import TermsUnknown
from tasks.models import DeadLetter

logger = logging.getLogger(__name__)


class CannotRunAgain(Refused):
    """This cannot be run again."""


def dead_letter(task: str, args: list[Any], error: Exception, *, attempts: int, ended_by: str = "") -> bool:
    """Write a dead letter for a failed step. The same step only increments the attempts of its open letter. Never raises.

    Args:
        ended_by: who has already handled the step. The letter is then closed and only informs.

    Returns:
        Whether the letter is written. If not, keep the other record of the step, such as its stream entry.
    """
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
                    json.dumps(args, default=str).replace("\\u0000", "\\ufffd"),  # PostgreSQL cannot store NUL
                    getattr(error, "code", type(error).__name__)[:64],
                    repr(error)[:4000].replace("\x00", "\ufffd"),
                    attempts,
                    _fingerprint(task, args),
                    ended_by,
                    bool(ended_by),
                ],
            )
    except Error as failure:
        logger.error(
            "dead letter could not be written", extra={"event": "dead_letter_lost", "task": task, "error": repr(failure)}
        )
        return False
    return True


def run_again(letter: DeadLetter, actor: str) -> None:
    """Run the step again and close the letter. If it fails again, the letter stays open or a new one is written. May run twice.

    A letter of the deduction step is the only record of its orders, so they are moved to PostgreSQL and the letter is closed
    in one transaction. All other steps also have a row or stream entry, so their message may be lost.

    Raises:
        CannotRunAgain: this release cannot read the message, or the step fails again. The letter is unchanged.
        kombu.exceptions.OperationalError: the message was not sent. The letter stays open.
    """
    if letter.is_unreadable:
        raise CannotRunAgain
    if letter.task == "tasks.deduct_inventory":
        _deduct(letter, actor)
    else:
        messages.send(letter.task, *letter.args)
        close(letter, actor)


def _deduct(letter: DeadLetter, actor: str) -> None:
    try:
        item, batch = letter.args
    except ValueError as error:  # this release cannot read the message
        raise CannotRunAgain("This release cannot read the message.") from error
    entries = [(entry_id, order) for entry_id, payload in batch if (order := read(payload)) is not None]
    if len(entries) < len(batch):
        raise CannotRunAgain("This release cannot read the order.")
    try:
        with transaction.atomic():
            if DeadLetter.objects.select_for_update().filter(pk=letter.pk, resolved_at=None).exists():
                if len(services.deduct(item, [order for _, order in entries])) < len(entries):
                    raise TermsUnknown
                close(letter, actor)
    except (IntegrityError, DataError, Refused) as error:
        raise CannotRunAgain(f"The step failed again: {error}") from error
    with suppress(GateUnavailable):  # harmless: the order is shown as queued until it ends
        gate.ack(item, entries)


def close_of(task: str, args: list[Any], *, actor: str) -> None:
    """Close the open letter of this step, if any. May run twice."""
    open_ones = DeadLetter.objects.filter(fingerprint=_fingerprint(task, args), resolved_at=None)
    open_ones.update(resolved_at=Now(), resolved_by=actor)


def close(letter: DeadLetter, actor: str) -> None:
    """Mark the letter as resolved. May run twice; the first actor is kept."""
    DeadLetter.objects.filter(pk=letter.pk, resolved_at=None).update(resolved_at=Now(), resolved_by=actor)


def _fingerprint(task: str, args: list[Any]) -> str:
    return sha256(json.dumps([task, args], sort_keys=True, default=str).encode()).hexdigest()
