"""Payments: rows first, then the provider, never inside a transaction, then what it said."""

import hashlib
import hmac
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import DurationField, F, Func
from django.db.models.functions import Now

from flashsale.core import bulk
from flashsale.core.errors import Invalid
from flashsale.core.ids import new_uuid
from payments.models import Payment, ProviderEvent, Refund
from payments.psp.base import ChargeRequest, ChargeResult, Outcome
from payments.psp.registry import provider

Status = Payment.Status
OPEN = (Status.CREATED, Status.PROCESSING, Status.UNKNOWN)
_LONGEST_PAUSE_S = 300


@dataclass(frozen=True, slots=True)
class PaymentRequest:
    order_id: UUID
    customer_id: int
    amount: Decimal
    currency: str
    method: str


class SignatureInvalid(Invalid):
    """The signature is wrong or too old."""

    code = "signature_invalid"


def known_method(method: str) -> bool:
    """Whether the provider takes this method."""
    return method in provider(settings.PAYMENT_PROVIDER).methods


def open_payments(requests: Sequence[PaymentRequest], origin: Payment.Origin) -> list[UUID]:
    """A payment for each order that has none open and none that succeeded; the ids of the new ones."""
    rows = []
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
            }
        )
    return [payment_id for (payment_id,) in bulk.insert(Payment, rows)]


def charge(payment_ids: Iterable[UUID]) -> list[UUID]:
    """Ask the provider about every open payment among these; returns those that are decided now. May run twice.

    The rows say ``processing`` before the provider is called, and the same key is sent whenever it is asked again: a worker
    that dies in between leaves a payment that the sweep asks about.
    """
    ids = list(payment_ids)
    Payment.objects.filter(pk__in=ids, status__in=OPEN).update(
        status=Status.PROCESSING,
        attempts=F("attempts") + 1,
        next_attempt_at=Now() + _pause(),
        updated_at=Now(),
    )
    rows = list(Payment.objects.filter(pk__in=ids, status=Status.PROCESSING))
    by_provider: dict[str, list[Payment]] = {}
    for row in rows:
        by_provider.setdefault(row.provider, []).append(row)
    for name, group in by_provider.items():
        requests = [ChargeRequest(row.idempotency_key, row.amount, row.currency, row.method) for row in group]
        _note(provider(name).charge(requests))
    return list(
        Payment.objects.filter(pk__in=ids, status__in=(Status.SUCCEEDED, Status.FAILED), applied_at=None).values_list(
            "pk", flat=True
        )
    )


def _pause() -> Func:
    """Seconds until the next question: 1, 2, 4 ... 300."""
    return Func(
        F("attempts"),
        template=f"make_interval(secs => least({_LONGEST_PAUSE_S}, 2 ^ least(%(expressions)s, 12)))",
        output_field=DurationField(),
    )


def _note(results: Sequence[ChargeResult]) -> None:
    for outcome, status in (
        (Outcome.SUCCEEDED, Status.SUCCEEDED),
        (Outcome.DECLINED, Status.FAILED),
        (Outcome.UNKNOWN, Status.UNKNOWN),
    ):
        refs = {result.key: result.ref for result in results if result.outcome is outcome}
        if not refs:
            continue
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE payments_payment SET status = %s, failure_code = %s, updated_at = now(), "
                "provider_ref = coalesce(%s::jsonb ->> idempotency_key, provider_ref) "
                "WHERE idempotency_key = ANY(%s) AND status IN ('created', 'processing', 'unknown')",
                [status, "declined" if outcome is Outcome.DECLINED else "", json.dumps(refs), list(refs)],
            )


def request_refund(payments: Iterable[Payment], reason: str) -> None:
    """Note that money goes back, once per payment; in the caller's transaction."""
    rows = []
    for payment in payments:
        refund_id = new_uuid()
        rows.append(
            {
                "id": refund_id,
                "payment_id": payment.pk,
                "amount": payment.amount,
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
    """Send refunds that are due to their provider. May run twice: the key stays the same."""
    due = list(
        Refund.objects.filter(status=Refund.Status.REQUESTED, next_attempt_at__lte=Now()).select_related("payment")[:limit]
    )
    for refund in due:
        mine = Refund.objects.filter(pk=refund.pk, status=Refund.Status.REQUESTED)
        mine.update(attempts=F("attempts") + 1, next_attempt_at=Now() + _pause(), updated_at=Now())
        ref = provider(refund.payment.provider).refund(refund.payment.idempotency_key, refund.idempotency_key, refund.amount)
        mine.update(status=Refund.Status.SUCCEEDED, provider_ref=ref, updated_at=Now())
    return len(due)


def due_payments(limit: int) -> list[UUID]:
    """Open payments whose next question is due."""
    due = Payment.objects.filter(status__in=OPEN, next_attempt_at__lte=Now()).order_by("next_attempt_at")
    return list(due.values_list("pk", flat=True)[:limit])


def decided_payments(limit: int) -> list[UUID]:
    """Decided payments whose order has not learnt of it."""
    rows = Payment.objects.filter(status__in=(Status.SUCCEEDED, Status.FAILED), applied_at=None)
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
        SignatureInvalid: wrong or older than ``WEBHOOK_TOLERANCE_S``.
        Invalid: not an event.
    """
    parts = dict(part.split("=", 1) for part in signature.split(",") if "=" in part)
    stamp = parts.get("t", "")
    moment = int(stamp) if stamp.isascii() and stamp.isdigit() and len(stamp) < 12 else 0
    fresh = abs(time.time() - moment) <= settings.WEBHOOK_TOLERANCE_S
    if not fresh or not hmac.compare_digest(sign(body, moment).encode(), signature.encode()):
        raise SignatureInvalid
    event_id, kind, key = _read_event(body)
    if not bulk.insert(
        ProviderEvent,
        [{"provider": "sandbox", "event_id": event_id, "kind": kind, "payload": {"idempotency_key": key}}],
    ):
        return []
    outcome = {"charge.succeeded": Outcome.SUCCEEDED, "charge.failed": Outcome.DECLINED}.get(kind)
    if outcome is not None:
        _note([ChargeResult(key, outcome)])
    return list(Payment.objects.filter(idempotency_key=key, applied_at=None).values_list("pk", flat=True))


def _read_event(body: bytes) -> tuple[str, str, str]:
    try:
        event = json.loads(body)
        values = event["id"], event["type"], event["data"]["idempotency_key"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Invalid("This is not an event.") from error
    if not all(isinstance(value, str) and 0 < len(value) <= 64 and value.isprintable() for value in values):
        raise Invalid("This is not an event.")
    return values
