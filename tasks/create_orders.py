"""Step 3: orders become rows."""

from uuid import UUID

from celery import shared_task
from django.db import transaction

from flashsale.core.ids import item_of_order
from orders import services
from tasks import dead_letters, poison
from tasks.retry import Step


@shared_task(base=Step, name="tasks.create_orders")
def create_orders(order_ids: list[str]) -> list[str]:
    """Make rows of a batch's orders; hands their ids on. May run twice."""
    return [str(pk) for pk in create([UUID(pk) for pk in order_ids])]


def create(order_ids: list[UUID]) -> list[UUID]:
    """The orders that are rows now; the others are rejected or wait in the dead letters, one by one."""
    made = services.create(order_ids)
    for pk in made.healed:
        dead_letters.close_of("tasks.create_orders", [[str(pk)]], actor="tasks.create_orders")
    for pk, error in made.poisoned.items():
        if not poison.end_at_once("tasks.create_orders", [[str(pk)]], error, poison.Poisoned(pk, 0, item_of_order(pk))):
            _set_aside(pk, error)
    return made.ids


def _set_aside(pk: UUID, error: Exception) -> None:
    """Into the dead letters, but for an order that staff have rejected since it failed: who does that holds its letter."""
    with transaction.atomic():
        is_written = dead_letters.bury("tasks.create_orders", [[str(pk)]], error, attempts=1)
        if not is_written or not services.put_off(pk):
            transaction.set_rollback(True)
