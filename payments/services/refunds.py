"""Refunds."""

import logging
from collections.abc import Iterable
from uuid import UUID

from django.db.models import F
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now

from flashsale.core import bulk
from flashsale.core.errors import Invalid, Refused
from flashsale.core.ids import new_uuid
from payments.models import Refund
from payments.providers.base import NoSuchCharge
from payments.providers.registry import provider
from payments.services.charges import PAUSE, Captured, charge_request

logger = logging.getLogger(__name__)
_MOST_ATTEMPTS = 50  # about four hours
_MOST_OF_NOTHING = 7  # about two minutes: a capture may appear in the provider's books a moment after it is reported


def request_refund(captures: Iterable[Captured], reason: str) -> None:
    """Request refunds in the caller's transaction, at most one per payment."""
    rows = []
    for capture in captures:
        refund_id = new_uuid()
        rows.append(
            {
                "id": refund_id,
                "payment_id": capture.payment_id,
                "amount": capture.amount,
                "reason": reason,
                "idempotency_key": refund_id.hex,
                "provider_ref": "",
                "status": Refund.Status.REQUESTED,
                "failure_code": "",
                "attempts": 0,
            }
        )
    bulk.insert(Refund, rows)


def process_refunds(limit: int) -> int:
    """Send due refunds to their provider, the longest due first. A refused refund is sent again later.

    A refund fails after about four hours, or about two minutes if the provider does not have the charge. Staff see it, and
    ``send_again`` opens it again. May run twice, because the key stays the same.
    """
    waiting = Refund.objects.filter(status=Refund.Status.REQUESTED, next_attempt_at__lte=Now()).select_related("payment")
    due = list(waiting.order_by("next_attempt_at")[:limit])  # so that refunds that fail repeatedly do not block others
    for refund in due:
        mine = Refund.objects.filter(pk=refund.pk, status=Refund.Status.REQUESTED)
        mine.update(attempts=F("attempts") + 1, next_attempt_at=Now() + RawSQL(PAUSE, ()), updated_at=Now())  # noqa: S611
        try:
            charge = charge_request(refund.payment)
            ref = provider(refund.payment.provider).refund(charge, refund.idempotency_key, refund.amount)
        except (Invalid, Refused) as error:  # an error of one refund must not delay the others
            told = {"event": "refund_refused", "refund_id": str(refund.pk), "error": repr(error)}
            logger.warning("refund refused", extra=told)
            if refund.attempts + 1 >= (_MOST_OF_NOTHING if isinstance(error, NoSuchCharge) else _MOST_ATTEMPTS):
                mine.update(status=Refund.Status.FAILED, failure_code=error.code[:64], updated_at=Now())
                logger.error("refund failed", extra=told | {"event": "refund_failed"})
            continue
        mine.update(status=Refund.Status.SUCCEEDED, provider_ref=ref, updated_at=Now())
    return len(due)


def send_again(payment_ids: Iterable[UUID]) -> int:
    """Open the failed refunds of these payments again. Returns their number. May run twice."""
    failed = Refund.objects.filter(payment_id__in=list(payment_ids), status=Refund.Status.FAILED)
    again = {"status": Refund.Status.REQUESTED, "failure_code": "", "attempts": 0, "next_attempt_at": Now()}
    return failed.update(**again, updated_at=Now())
