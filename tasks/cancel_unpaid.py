"""Step 5: what was not paid in time goes back on sale."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from celery import shared_task
from django.conf import settings

from flashsale.core import messages
from flashsale.core.clock import now
from orders import services
from tasks import gate_effects
from tasks.retry import Step

_LIMIT = 1000


@shared_task(base=Step, name="tasks.cancel_unpaid")
def cancel_unpaid(order_ids: list[str], due_at: str) -> None:
    """Cancel what is overdue, a batch's orders among it; before its deadline, wait on. May run twice and at once.

    The orders only say how large the batch is: deadlines come in crowds, and the first message to come due works for all.
    """
    due = datetime.fromisoformat(due_at)
    if now() < due:
        schedule([(UUID(pk), due) for pk in order_ids])
    else:
        drain()


def drain() -> None:
    """Cancel everything overdue, some hundred orders at a time, each time with their units back on sale before the next.

    May run twice and at once: each takes what no other is at. An order that somebody had locked is left to the next sweep.
    """
    while services.cancel_unpaid(_LIMIT):
        gate_effects.apply()


def schedule(unpaid: Sequence[tuple[UUID, datetime]]) -> None:
    """One delayed message for these orders, due at the latest of their deadlines.

    A worker holds it at most ``ETA_MAX_HOLD_S``, which keeps it under the broker's visibility timeout. A message that cannot
    be sent is made good by the sweep.
    """
    if not unpaid:
        return
    due = max(deadline for _, deadline in unpaid)
    hop = min(due, now() + timedelta(seconds=settings.ETA_MAX_HOLD_S))
    messages.publish("tasks.cancel_unpaid", [str(pk) for pk, _ in unpaid], due.isoformat(), eta=hop)
