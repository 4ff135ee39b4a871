"""Step 5: what was not paid in time goes back on sale."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from celery import shared_task
from django.conf import settings

from flashsale.core.clock import now
from orders import services
from tasks import gate_effects
from tasks.retry import Step


@shared_task(base=Step, name="tasks.cancel_unpaid")
def cancel_unpaid(order_ids: list[str], due_at: str) -> None:
    """Cancel those of a batch that are overdue; before the deadline, wait on. May run twice."""
    due = datetime.fromisoformat(due_at)
    if now() < due:
        schedule([(UUID(pk), due) for pk in order_ids])
        return
    if services.cancel_unpaid(len(order_ids), [UUID(pk) for pk in order_ids]):
        gate_effects.apply()


def schedule(unpaid: Sequence[tuple[UUID, datetime]]) -> None:
    """One delayed message for these orders, due at the latest of their deadlines.

    A worker holds it at most ``ETA_MAX_HOLD_S``, which keeps it under the broker's visibility timeout. A message that cannot
    be sent is made good by the sweep.
    """
    from tasks import pipeline

    if not unpaid:
        return
    due = max(deadline for _, deadline in unpaid)
    hop = min(due, now() + timedelta(seconds=settings.ETA_MAX_HOLD_S))
    pipeline.publish(cancel_unpaid, [str(pk) for pk, _ in unpaid], due.isoformat(), eta=hop)
