"""Step 3: create the order rows."""

from uuid import UUID

from celery import shared_task
from django.db import transaction

from flashsale.core.ids import item_of_order
from orders import services
from tasks.repair import dead_letters, poison, unread
from tasks.worker.retry import Step

_FOREIGN_KEY_VIOLATION = "23503"
_LONGEST_PAUSE_S = 600  # upper bound of the retry delay, for example until staff restore a customer
_PAUSE_S = 30  # retry delay that lets a process of another release try


@shared_task(base=Step, name="tasks.create_orders")
def create_orders(order_ids: list[str]) -> list[str]:
    """Create the rows of a batch's orders. Returns their ids for the next step. May run twice."""
    return [str(pk) for pk in create([UUID(pk) for pk in order_ids])]


def create(order_ids: list[UUID]) -> list[UUID]:
    """Create rows and return the ids that have one. The others are rejected, in dead letters, or left to another release."""
    made = services.create(order_ids)
    for pk in made.healed:
        dead_letters.close_of("tasks.create_orders", [[str(pk)]], actor="tasks.create_orders")
    for pk, error in made.poisoned.items():
        if pk in made.hopeless:
            poison.end("tasks.create_orders", [[str(pk)]], error, poison.Poisoned(pk, 0, item_of_order(pk)))
        else:
            _set_aside(pk, error)
    if made.unread:
        unread.tell_of_intake(services.leave_unread(made.unread))
    return made.ids


def _set_aside(pk: UUID, error: Exception) -> None:
    """Write a dead letter, unless staff have rejected the order since it failed."""
    is_for_people = getattr(error.__cause__, "pgcode", None) == _FOREIGN_KEY_VIOLATION
    with transaction.atomic():
        is_written = dead_letters.dead_letter("tasks.create_orders", [[str(pk)]], error, attempts=1)
        if not is_written or not services.put_off(pk, at_most_s=_LONGEST_PAUSE_S if is_for_people else _PAUSE_S):
            transaction.set_rollback(True)
