"""Payments: rows first, then the provider, never inside a transaction, then what it said."""

import hashlib
import hmac
import json
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now

from flashsale.core import bulk
from flashsale.core.clock import now
from flashsale.core.errors import Invalid, Refused
from flashsale.core.ids import new_uuid
from payments.models import Payment, ProviderEvent, Refund
from payments.psp.base import ChargeRequest, Outcome
from payments.psp.registry import provider

logger = logging.getLogger(__name__)
Status = Payment.Status
OPEN = (Status.CREATED, Status.PROCESSING, Status.UNKNOWN)
_DECIDED = (Status.SUCCEEDED, Status.FAILED)
_LONGEST_PAUSE_S = 300
_FIRST_PAUSE = timedelta(seconds=3)  # whoever opens a payment asks at once; past this a sweep does
_VERIFY_AFTER = timedelta(seconds=30)  # an event overtakes another by less
_VERIFY_AGAIN = timedelta(minutes=5)
_MOST_REFUND_ATTEMPTS = 50  # some four hours


@dataclass(frozen=True, slots=True)
class PaymentRequest:
    order_id: UUID
    customer_id: int
    amount: Decimal
    currency: str
    method: str


@dataclass(frozen=True, slots=True)
class Captured:
    """Money that the provider holds for us."""

    order_id: UUID
    payment_id: UUID
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Answer:
    """What the provider says of one payment now."""

    order_id: UUID
    key: str
    status: str
    ref: str


class SignatureInvalid(Invalid):
    """The signature is wrong or too old."""

    code = "signature_invalid"


def known_method(method: str) -> bool:
    """Whether the provider takes this method."""
    return method in provider(settings.PAYMENT_PROVIDER).methods


def open_payments(requests: Sequence[PaymentRequest], origin: Payment.Origin) -> list[UUID]:
    """A payment for each order that has none open and none that succeeded; the ids of the new ones."""
    rows = []
    asked_again_at = now() + _FIRST_PAUSE
    for request in requests:
        payment_id = new_uuid()
        rows.append(
            {
                "id": payment_id,
                "order_id": request.order_id,
                "customer_id": request.customer_id,
                "amount": request.amount,
                "currency": request.currency,
                "method": request.method,
                "origin": origin,
                "provider": settings.PAYMENT_PROVIDER,
                "idempotency_key": payment_id.hex,
                "provider_ref": "",
                "status": Status.CREATED,
                "failure_code": "",
                "attempts": 0,
                "next_attempt_at": asked_again_at,
            }
        )
    return [payment_id for (payment_id,) in bulk.insert(Payment, rows)]


def ask(payment_ids: Iterable[UUID]) -> list[Answer]:
    """Ask the provider about those of these open payments whose question is due; ``record`` what it says. May run twice.

    The rows say ``processing`` before the provider is called, and the same key is sent whenever it is asked again: a
    worker that dies in between leaves a payment that the sweep asks about. Of several who ask at once one does, or each would
    double the pause before the next question.
    """
    by_provider: dict[str, list[ChargeRequest]] = {}
    orders: dict[str, UUID] = {}
    with connection.cursor() as cursor:
        cursor.execute(_PROCESSING, {"ids": [str(pk) for pk in payment_ids]})
        for name, order_id, key, amount, currency, method in cursor.fetchall():
            by_provider.setdefault(name, []).append(ChargeRequest(key, amount, currency, method))
            orders[key] = order_id
    return [
        Answer(orders[result.key], result.key, _STATUSES[result.outcome], result.ref)
        for name, requests in by_provider.items()
        for result in provider(name).charge(requests)
        if result.outcome in _STATUSES
    ]


_STATUSES = {
    Outcome.SUCCEEDED: Status.SUCCEEDED,
    Outcome.DECLINED: Status.FAILED,
    Outcome.UNKNOWN: Status.UNKNOWN,
}
# The next question comes after 1, 2, 4 ... seconds.
_PAUSE = f"make_interval(secs => least({_LONGEST_PAUSE_S}, 2 ^ least(attempts, 12)))"
_PROCESSING = f"""
UPDATE payments_payment SET status = 'processing', attempts = attempts + 1, updated_at = now(),
    next_attempt_at = now() + {_PAUSE}
WHERE id = ANY(%(ids)s::uuid[]) AND (status = 'created' OR status IN ('processing', 'unknown') AND next_attempt_at <= now())
RETURNING provider, order_id, idempotency_key, amount, currency, method
"""  # noqa: S608 - a constant of ours
# Late truth wins: what failed may turn out to have succeeded, as providers' events come in any order. A capture is a fact,
# which nothing undoes but a refund. An event that says "failed" is checked later: it may be older than the capture.
_RECORD = """
UPDATE payments_payment p SET status = said.status, provider_ref = coalesce(nullif(said.ref, ''), p.provider_ref),
    failure_code = CASE said.status WHEN 'failed' THEN 'declined' ELSE '' END, updated_at = now(),
    applied_at = CASE WHEN %(applied)s AND said.status IN ('succeeded', 'failed') THEN now() END,
    verify_at = CASE WHEN said.status <> 'failed' THEN NULL WHEN p.status = 'failed' THEN p.verify_at
        ELSE now() + %(verify_after)s::interval END
FROM unnest(%(keys)s::text[], %(statuses)s::text[], %(refs)s::text[]) AS said(key, status, ref)
WHERE p.idempotency_key = said.key AND (p.status IN ('created', 'processing', 'unknown')
    OR (p.status = 'failed' AND said.status = 'succeeded')
    OR (p.status = said.status AND p.applied_at IS NULL))
RETURNING p.order_id, p.id, p.amount, p.status
"""


def record(answers: Sequence[Answer], *, applied: bool, by_event: bool = False) -> list[Captured]:
    """Write down what the provider said; returns the money of those payments of which it is new that they succeeded.

    In the caller's transaction, which has locked the orders if it is to tell them. May run twice, and in any order.

    Args:
        applied: the orders learn of it in this same transaction.
        by_event: the provider was not asked; a failure is verified later.
    """
    said: dict[str, Answer] = {}
    for answer in answers:
        if answer.key not in said or answer.status == Status.SUCCEEDED:
            said[answer.key] = answer
    values: dict[str, Any] = {
        "applied": applied,
        "verify_after": _VERIFY_AFTER if by_event else None,
        "keys": list(said),
        "statuses": [str(answer.status) for answer in said.values()],
        "refs": [answer.ref for answer in said.values()],
    }
    with connection.cursor() as cursor:
        cursor.execute(_RECORD, values)
        found = cursor.fetchall()
    return [Captured(order, pk, amount) for order, pk, amount, status in found if status == Status.SUCCEEDED]


def untold_answers(payment_ids: Iterable[UUID]) -> list[Answer]:
    """What is known of those of these payments that are decided and whose order has not learnt of it."""
    rows = Payment.objects.filter(pk__in=list(payment_ids), status__in=_DECIDED, applied_at=None)
    return [Answer(*row) for row in rows.values_list("order_id", "idempotency_key", "status", "provider_ref")]


def captured_of(order_id: UUID) -> list[Captured]:
    """The money that the provider holds for an order and that does not go back."""
    rows = Payment.objects.filter(order_id=order_id, status=Status.SUCCEEDED, refund=None)
    return [Captured(order_id, pk, amount) for pk, amount in rows.values_list("pk", "amount")]


def request_refund(captures: Iterable[Captured], reason: str) -> None:
    """Note that money goes back, once per payment; in the caller's transaction."""
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
    """Send refunds that are due to their provider, the longest due first; one that it refuses is sent again later, and ends
    as ``failed`` after ``_MOST_REFUND_ATTEMPTS``, for staff to look at.

    May run twice: the key stays the same.
    """
    waiting = Refund.objects.filter(status=Refund.Status.REQUESTED, next_attempt_at__lte=Now()).select_related("payment")
    due = list(waiting.order_by("next_attempt_at")[:limit])  # or those that fail again and again would keep others back
    for refund in due:
        mine = Refund.objects.filter(pk=refund.pk, status=Refund.Status.REQUESTED)
        mine.update(attempts=F("attempts") + 1, next_attempt_at=Now() + RawSQL(_PAUSE, ()), updated_at=Now())  # noqa: S611
        try:
            ref = provider(refund.payment.provider).refund(
                refund.payment.idempotency_key, refund.idempotency_key, refund.amount
            )
        except (Invalid, Refused) as error:  # of this one alone: the others need not wait for the next time
            told = {"event": "refund_refused", "refund_id": str(refund.pk), "error": repr(error)}
            logger.warning("refund refused", extra=told)
            given_up = mine.filter(attempts__gte=_MOST_REFUND_ATTEMPTS)
            given_up.update(status=Refund.Status.FAILED, failure_code=error.code[:64], updated_at=Now())
            continue
        mine.update(status=Refund.Status.SUCCEEDED, provider_ref=ref, updated_at=Now())
    return len(due)


def verify(limit: int) -> list[Answer]:
    """Ask about payments that failed by an event alone; ``record`` what the provider says. May run twice and at once.

    Only a charge that the provider knows has events, so asking charges nobody anew: the key is the same.
    """
    asked: dict[str, UUID] = {}
    by_provider: dict[str, list[ChargeRequest]] = {}
    with connection.cursor() as cursor:
        values: dict[str, Any] = {"again": _VERIFY_AGAIN, "limit": limit}
        cursor.execute(_TO_VERIFY, values)
        for name, order_id, key, amount, currency, method in cursor.fetchall():
            by_provider.setdefault(name, []).append(ChargeRequest(key, amount, currency, method))
            asked[key] = order_id
    results = [result for name, requests in by_provider.items() for result in provider(name).charge(requests)]
    declined = [result.key for result in results if result.outcome is Outcome.DECLINED]
    Payment.objects.filter(idempotency_key__in=declined, status=Status.FAILED).update(verify_at=None)
    return [
        Answer(asked[result.key], result.key, Status.SUCCEEDED, result.ref)
        for result in results
        if result.outcome is Outcome.SUCCEEDED
    ]


_TO_VERIFY = """
UPDATE payments_payment SET verify_at = now() + %(again)s WHERE id IN (
    SELECT id FROM payments_payment WHERE status = 'failed' AND verify_at <= now()
    ORDER BY verify_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
RETURNING provider, order_id, idempotency_key, amount, currency, method
"""


def due_payments(limit: int) -> list[UUID]:
    """Open payments whose next question is due."""
    due = Payment.objects.filter(status__in=OPEN, next_attempt_at__lte=Now()).order_by("next_attempt_at")
    return list(due.values_list("pk", flat=True)[:limit])


def decided_payments(limit: int) -> list[UUID]:
    """Decided payments whose order has not learnt of it."""
    rows = Payment.objects.filter(status__in=_DECIDED, applied_at=None)
    return list(rows.order_by("updated_at").values_list("pk", flat=True)[:limit])


def sign(body: bytes, moment: int) -> str:
    """The sandbox's signature header: ``t=<unix seconds>,v1=<HMAC-SHA256 of "t.body">``."""
    secret = settings.SANDBOX_WEBHOOK_SECRET.encode()
    digest = hmac.new(secret, f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"


@transaction.atomic
def receive_event(body: bytes, signature: str) -> list[UUID]:
    """Take a sandbox event; returns the payments whose order must learn of it. A repetition has no second effect.

    Raises:
        SignatureInvalid: wrong, older than ``WEBHOOK_TOLERANCE_S``, or there is no secret to check it by.
        Invalid: not an event.
    """
    parts = dict(part.split("=", 1) for part in signature.split(",") if "=" in part)
    stamp = parts.get("t", "")
    moment = int(stamp) if stamp.isascii() and stamp.isdigit() and len(stamp) < 12 else 0
    fresh = abs(time.time() - moment) <= settings.WEBHOOK_TOLERANCE_S
    if not settings.SANDBOX_WEBHOOK_SECRET:  # a signature that anybody can make
        raise SignatureInvalid
    if not fresh or not hmac.compare_digest(sign(body, moment).encode(), signature.encode()):
        raise SignatureInvalid
    event_id, kind, key = _read_event(body)
    if not bulk.insert(
        ProviderEvent,
        [{"provider": "sandbox", "event_id": event_id, "kind": kind, "payload": {"idempotency_key": key}}],
    ):
        return []
    status = {"charge.succeeded": Status.SUCCEEDED, "charge.failed": Status.FAILED}.get(kind)
    payment = Payment.objects.filter(idempotency_key=key).first()
    if status is None or payment is None:
        return []
    record([Answer(payment.order_id, key, status, "")], applied=False, by_event=True)
    return [payment.pk]


def _read_event(body: bytes) -> tuple[str, str, str]:
    try:
        event = json.loads(body)
        values = event["id"], event["type"], event["data"]["idempotency_key"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Invalid("This is not an event.") from error
    if not all(isinstance(value, str) and 0 < len(value) <= 64 and value.isprintable() for value in values):
        raise Invalid("This is not an event.")
    return values
