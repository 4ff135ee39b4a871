"""Step 3: orders become rows."""

from uuid import UUID

from celery import shared_task

from orders import services
from tasks import dead_letters
from tasks.retry import Step


@shared_task(base=Step, name="tasks.create_orders")
def create_orders(order_ids: list[str]) -> list[str]:
    """Make rows of a batch's orders; hands their ids on. May run twice."""
    return [str(pk) for pk in create([UUID(pk) for pk in order_ids])]


def create(order_ids: list[UUID]) -> list[UUID]:
    """The orders that are rows now; the others stand in the dead letters, one by one."""
    made = services.create(order_ids)
    for pk, why in made.poisoned.items():
        dead_letters.bury("tasks.create_orders", [[str(pk)]], ValueError(why), attempts=1)
    return made.ids
