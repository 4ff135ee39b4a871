"""Step 3: orders become rows."""

from uuid import UUID

from celery import shared_task

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
    for pk, error in made.poisoned.items():
        args = [[str(pk)]]
        if not poison.end_at_once("tasks.create_orders", args, error, poison.Poisoned(pk, 0, item_of_order(pk))):
            dead_letters.bury("tasks.create_orders", args, error, attempts=1)
    return made.ids
