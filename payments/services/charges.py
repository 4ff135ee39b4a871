"""Payments of orders: what is asked of the provider, and what it says of them.

The provider's books are the truth. What a row says is what we know of them so far: a failure may turn out to be a success,
a success stays one.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import Exists, F, OuterRef
from django.db.models.functions import Greatest, Now

from flashsale.core import bulk
from flashsale.core.clock import now
from flashsale.core.ids import new_uuid
from payments.models import Payment, Refund
from payments.providers.base import Action, ChargeRequest, ChargeResult, Outcome
from payments.providers.registry import provider

Status = Payment.Status
OPEN = (Status.CREATED, Status.PROCESSING, Status.UNKNOWN)
_DECIDED = (Status.SUCCEEDED, Status.FAILED)
_LONGEST_PAUSE_S = 300
FIRST_PAUSE = timedelta(seconds=3)  # whoever opens a payment asks at once; past this a sweep does
_ASKING_PAUSE = timedelta(seconds=2)  # longer than a step asks before others have their turn


@dataclass(frozen=True, slots=True)
class PaymentRequest:
    order_id: UUID
    customer_id: int
    amount: Decimal
    currency: str
    method: str


@dataclass(frozen=True, slots=True)
class Opened:
    """The open payments of some orders. ``fresh``: opened just now, as being asked about, by whoever has this."""

    fresh: list[UUID]
    others: list[UUID]


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
    code: str = ""


def known_method(method: str) -> bool:
    """Whether the provider takes this method."""
    return provider(settings.PAYMENT_PROVIDER).takes(method)


def shown_methods() -> Sequence[tuple[str, str]]:
    """Methods of payment, with their names, that a page may offer as they are: those of test money."""
    return provider(settings.PAYMENT_PROVIDER).test_methods


def open_payments(
    requests: Sequence[PaymentRequest], origin: Payment.Origin, *, asking: bool = False, only: str = "true"
) -> list[UUID]:
    """A payment for each order that has none open and none that succeeded; the ids of the new ones.

    The caller holds the rows of the orders. One that succeeds at this moment, after it had failed, is not seen: both are then
    true, and the second capture is refunded.

    Args:
        asking: the caller asks about them as soon as this is committed, as ``fresh``: the rows say so already. Of one that
            dies before, a sweep asks after two seconds.
        only: a condition of SQL on ``rows``; no payment is opened where it is false.
    """
    rows = []
    asked_again_at = now() + (_ASKING_PAUSE if asking else FIRST_PAUSE)
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
                "status": Status.PROCESSING if asking else Status.CREATED,
                "failure_code": "",
                "attempts": int(asking),
                "next_attempt_at": asked_again_at,
            }
        )
    return [payment_id for (payment_id,) in bulk.insert(Payment, rows, only=f"{_UNPAID} AND ({only})")]


_UNPAID = "NOT EXISTS (SELECT FROM payments_payment p WHERE p.order_id = rows.order_id AND p.status = 'succeeded')"


def pace() -> float | None:
    """How many payments the provider can be asked about in a second; None where nothing but time limits it."""
    return provider(settings.PAYMENT_PROVIDER).per_second()


def ask(payment_ids: Iterable[UUID], fresh: Iterable[UUID] = (), *, more: bool = False) -> Iterator[list[Answer]]:
    """Ask the provider about those of these open payments whose question is due; ``record`` what it says. May run twice.

    The rows say ``processing`` before the provider is called, and the same key is sent whenever it is asked again: a
    worker that dies in between leaves a payment that the sweep asks about. Of several who ask at once one does, or each would
    double the pause before the next question.

    Args:
        fresh: payments that the caller has opened as being asked about; those that a sweep has asked about since are left out.
        more: the caller asks about others at once, so no slow answer is waited for.

    Returns:
        Groups of answers, as the provider gives them.
    """
    by_provider: dict[str, list[ChargeRequest]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_PROCESSING, {"ids": [str(pk) for pk in payment_ids], "fresh": [str(pk) for pk in fresh]})
        for name, *values in cursor.fetchall():
            by_provider.setdefault(name, []).append(ChargeRequest(*values))
    for name, requests in by_provider.items():
        for results in provider(name).charge(requests, more=more):
            _note(results)
            yield answers_of(results)


def _note(results: Iterable[ChargeResult]) -> None:
    """What is no answer yet, and has to be known when the provider is asked again."""
    for result in results:
        if result.outcome not in (Outcome.ACTION, Outcome.POSTPONED):
            continue  # a query that is only made up costs more than all else that is done here for an order
        mine = Payment.objects.filter(idempotency_key=result.request.key, status__in=OPEN)
        if result.outcome is Outcome.ACTION and (result.ref != result.request.ref):
            mine.update(provider_ref=result.ref, needs_action=True, updated_at=Now())
        elif result.outcome is Outcome.POSTPONED:
            mine.filter(status=Status.PROCESSING).update(
                status=Status.CREATED,
                attempts=Greatest(F("attempts") - 1, 0),
                failure_code=result.code,
                next_attempt_at=now() + timedelta(seconds=result.retry_after_s),
                updated_at=Now(),
            )


def action_of(order_id: UUID) -> Action | None:
    """What the customer has to do for the open payment of an order; None for nothing. Asks the provider.

    Raises:
        ProviderUnavailable: it cannot be said at present.
    """
    payment = Payment.objects.filter(order_id=order_id, status__in=OPEN, needs_action=True).first()
    return provider(payment.provider).action(charge_request(payment)) if payment else None


def put_back(fresh: Iterable[UUID]) -> None:
    """Of these nobody has asked after all: whoever asks next may do so at once. May run twice."""
    mine = Payment.objects.filter(pk__in=list(fresh), status=Status.PROCESSING, attempts=1)
    mine.update(status=Status.CREATED, attempts=0, next_attempt_at=now() + FIRST_PAUSE, updated_at=Now())


def charge_request(payment: Payment) -> ChargeRequest:
    """A payment as its provider is asked about it."""
    return ChargeRequest(*(getattr(payment, name) for name in _REQUEST_FIELDS))


def answers_of(results: Iterable[ChargeResult]) -> list[Answer]:
    """What these results say of their payments; nothing where nothing is known."""
    return [
        Answer(result.request.order_id, result.request.key, _STATUSES[result.outcome], result.ref, result.code)
        for result in results
        if result.outcome in _STATUSES
    ]


_STATUSES = {
    Outcome.SUCCEEDED: Status.SUCCEEDED,
    Outcome.DECLINED: Status.FAILED,
    Outcome.UNKNOWN: Status.UNKNOWN,
}
_REQUEST_FIELDS = ("idempotency_key", "amount", "currency", "method", "order_id", "created_at", "provider_ref")
_REQUEST_COLUMNS = f"provider, {', '.join(_REQUEST_FIELDS)}"
# The next question comes after 1, 2, 4 ... seconds.
PAUSE = f"make_interval(secs => least({_LONGEST_PAUSE_S}, 2 ^ least(attempts, 12)))"
_PROCESSING = f"""
WITH due AS (
    SELECT id FROM payments_payment WHERE id = ANY(%(ids)s::uuid[])
    AND (status = 'created' OR status IN ('processing', 'unknown') AND next_attempt_at <= now()) ORDER BY id FOR UPDATE
), asked AS (
    UPDATE payments_payment p SET status = 'processing', attempts = attempts + 1, updated_at = now(),
        next_attempt_at = now() + {PAUSE}
    FROM due WHERE p.id = due.id
    RETURNING {_REQUEST_COLUMNS}
)
SELECT * FROM asked UNION ALL
SELECT {_REQUEST_COLUMNS} FROM payments_payment
WHERE id = ANY(%(fresh)s::uuid[]) AND status = 'processing' AND attempts = 1
"""  # noqa: S608 - a constant of ours
# An open payment takes any answer. A failed one takes a success: the provider has the money. A success is never undone.
# An equal answer is taken by one of which the order has not learnt.
_RECORD = """
WITH said AS (
    SELECT * FROM unnest(%(keys)s::text[], %(statuses)s::text[], %(refs)s::text[], %(codes)s::text[])
        AS said(key, status, ref, code)
), mine AS (
    SELECT p.id, said.status, said.ref, said.code FROM payments_payment p JOIN said ON p.idempotency_key = said.key
    WHERE p.status IN ('created', 'processing', 'unknown') OR (p.status = 'failed' AND said.status = 'succeeded')
        OR (p.status = said.status AND p.applied_at IS NULL)
    ORDER BY p.id FOR UPDATE OF p
)
UPDATE payments_payment p SET status = mine.status, provider_ref = coalesce(nullif(mine.ref, ''), p.provider_ref),
    failure_code = CASE mine.status WHEN 'failed' THEN coalesce(nullif(mine.code, ''), 'declined') ELSE '' END,
    updated_at = now(),
    applied_at = CASE WHEN %(applied)s AND mine.status IN ('succeeded', 'failed') THEN now() END
FROM mine WHERE p.id = mine.id
RETURNING p.id, p.order_id, p.amount, p.status
"""


def record(answers: Iterable[Answer], *, applied: bool) -> list[Captured]:
    """Write down what the provider said; returns the money of those of whom it is new that they succeeded.

    Args:
        answers: of two of one payment the success counts.
        applied: the orders learn of it in this same transaction, which holds their rows.
    """
    said = {answer.key: answer for answer in sorted(answers, key=lambda answer: answer.status == Status.SUCCEEDED)}
    values: dict[str, Any] = {
        "applied": applied,
        "keys": list(said),
        "statuses": [str(answer.status) for answer in said.values()],
        "refs": [answer.ref for answer in said.values()],
        "codes": [answer.code for answer in said.values()],
    }
    with connection.cursor() as cursor:
        cursor.execute(_RECORD, values)
        rows = sorted(cursor.fetchall())
    return [Captured(order, pk, amount) for pk, order, amount, status in rows if status == Status.SUCCEEDED]


def look_up(order_id: UUID) -> list[Answer]:
    """What the provider's books have of an order's payments that we take for failed. Charges nothing; not in a transaction."""
    by_provider: dict[str, list[ChargeRequest]] = {}
    for payment in Payment.objects.filter(order_id=order_id, status=Status.FAILED):
        by_provider.setdefault(payment.provider, []).append(charge_request(payment))
    return [answer for name, requests in by_provider.items() for answer in answers_of(provider(name).look_up(requests))]


def untold_answers(payment_ids: Iterable[UUID]) -> list[Answer]:
    """What is known of those of these payments that are decided and whose order has not learnt of it."""
    rows = Payment.objects.filter(pk__in=list(payment_ids), status__in=_DECIDED, applied_at=None)
    return [Answer(*row) for row in rows.values_list("order_id", "idempotency_key", "status", "provider_ref")]


def captured_of(order_id: UUID) -> list[Captured]:
    """The successful payments of an order that nobody gives back."""
    rows = Payment.objects.filter(order_id=order_id, status=Status.SUCCEEDED).order_by("pk")
    kept = rows.filter(~Exists(Refund.objects.filter(payment=OuterRef("pk"))))
    return [Captured(order_id, pk, amount) for pk, amount in kept.values_list("pk", "amount")]


def due_payments(limit: int) -> list[UUID]:
    """Open payments whose next question is due."""
    due = Payment.objects.filter(status__in=OPEN, next_attempt_at__lte=Now()).order_by("next_attempt_at")
    return list(due.values_list("pk", flat=True)[:limit])


def decided_payments(limit: int) -> list[UUID]:
    """Decided payments whose order has not learnt of it."""
    rows = Payment.objects.filter(status__in=_DECIDED, applied_at=None)
    return list(rows.order_by("updated_at").values_list("pk", flat=True)[:limit])
