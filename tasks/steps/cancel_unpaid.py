"""Step 5: cancel overdue orders and put their units back on sale."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from celery import shared_task
from django.conf import settings

from flashsale.core import messages
from flashsale.core.clock import now
from orders import services
from tasks.steps import gate_effects
from tasks.worker.retry import Step

_LIMIT = 1000


@shared_task(bind=True, base=Step, name="tasks.cancel_unpaid")
def cancel_unpaid(task: Step, order_ids: list[str], due_at: str) -> None:
    """Cancel everything overdue; before ``due_at``, wait on. May run twice and at once.

    Args:
        order_ids: of the batch, in messages of the previous release; empty since. Deadlines come in crowds, and the first
            message to come due works for all.
        due_at: the batch's deadline, ISO 8601.
    """
    due = datetime.fromisoformat(due_at)
    if now() < due:
        _send(due, len(order_ids) or task.request.get("units") or 1)
    else:
        drain()


def drain() -> None:
    """Cancel all overdue orders, a few hundred per transaction, and put their units back on sale after each.

    May run twice and concurrently: locked orders are left to the next sweep.
    """
    while services.cancel_unpaid(_LIMIT):
        gate_effects.apply()


def schedule(unpaid: Sequence[tuple[UUID, datetime]]) -> None:
    """Send one delayed message for these orders, due at their latest deadline.

    A worker holds the message for at most ``ETA_MAX_HOLD_S``, which is less than the broker's visibility timeout. If the
    message cannot be sent, the sweep cancels the orders.
    """
    if not unpaid:
        return
    _send(max(deadline for _, deadline in unpaid), len(unpaid))


def _send(due: datetime, orders: int) -> None:
    hop = min(due, now() + timedelta(seconds=settings.ETA_MAX_HOLD_S))
    messages.publish("tasks.cancel_unpaid", [], due.isoformat(), eta=hop, headers={"units": orders})
