"""The providers' books compared with ours: what is safe is repaired, the rest is for a person."""

import logging
from datetime import datetime, timedelta

from celery import shared_task
from django.conf import settings

from flashsale.core.clock import now
from payments import services as payments
from tasks.steps import request_payments

logger = logging.getLogger(__name__)
_JUST_NOW = timedelta(minutes=2)  # what is younger may still be on its way
_NIGHTLY = timedelta(days=2)
_LONGEST_S = 3600


def reconcile_payments(since: datetime, *, dry_run: bool = False) -> list[payments.Found]:
    """Compare every capture since then; a capture that was not recorded pays its order or is refunded. May run twice.

    Args:
        dry_run: only report.

    Raises:
        ProviderUnavailable: the provider does not answer.
    """
    found = []
    for comparison in payments.compare(since, now() - _JUST_NOW):
        found += comparison.found
        if not dry_run:
            request_payments.apply(comparison.answers)
    for each in found:
        told = {"event": "payment_differs", "kind": each.kind.name, "key": each.key, "ref": each.ref, "detail": each.detail}
        logger.error("payment differs from the provider's books", extra=told)
    return found


@shared_task(name="tasks.reconcile_payments", ignore_result=True, soft_time_limit=_LONGEST_S, time_limit=_LONGEST_S + 60)
def nightly() -> None:
    """Beat's run over the last two days; then old events are deleted."""
    reconcile_payments(now() - _NIGHTLY)
    payments.forget_events(timedelta(days=settings.PROVIDER_EVENT_RETENTION_DAYS))
