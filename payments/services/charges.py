"""Payments of orders: the calls to the provider and its answers.

The provider's books decide. A row holds what we know of them so far. A failure may turn out to be a success. A success is
final.
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
FIRST_PAUSE = timedelta(seconds=3)  # the opener of a payment asks at once; after this time a sweep asks
_ASKING_PAUSE = timedelta(seconds=2)  # longer than one step asks before it yields to others


@dataclass(frozen=True, slots=True)
class PaymentRequest:
    order_id: UUID
    customer_id: int
    amount: Decimal
    currency: str
    method: str


@dataclass(frozen=True, slots=True)
class Opened:
    """The open payments of some orders. ``fresh``: the holder of this object has just opened them as ``processing``."""

    fresh: list[UUID]
    others: list[UUID]


@dataclass(frozen=True, slots=True)
class Captured:
    """A successful payment: money that the provider holds for us."""

    order_id: UUID
    payment_id: UUID
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Answer:
    """The provider's current answer for one payment."""

    order_id: UUID
    key: str
    status: str
    ref: str
    code: str = ""


def known_method(method: str) -> bool:
    """Whether the provider takes this method."""
    return provider(settings.PAYMENT_PROVIDER).takes(method)


def shown_methods() -> Sequence[tuple[str, str]]:
    """The provider's test payment methods and their labels, for pages to offer."""
    return provider(settings.PAYMENT_PROVIDER).test_methods


def open_payments(
    requests: Sequence[PaymentRequest], origin: Payment.Origin, *, asking: bool = False, only: str = "true"
) -> list[UUID]:
    """Open a payment for each order without an open or successful one. Returns the ids of the new payments.

    The caller must lock the rows of the orders. A failed payment that succeeds at the same moment is not seen. Both are then
    captured, and the second capture is refunded.

    Args:
        asking: the caller asks the provider as soon as this is committed, with the payments as ``fresh``. Their rows are
            already ``processing``. If the caller dies first, a sweep asks after two seconds.
        only: an SQL condition on ``rows``. No payment is opened where it is false.
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
    """How many payments the provider can be asked about per second. None means no limit."""
    return provider(settings.PAYMENT_PROVIDER).per_second()


def ask(payment_ids: Iterable[UUID], fresh: Iterable[UUID] = (), *, more: bool = False) -> Iterator[list[Answer]]:
    """Ask the provider about the open payments that are due. The caller passes the answers to ``record``. May run twice.

    The rows are ``processing`` before the provider is called, and every repeated call sends the same key. If a worker dies in
    between, the sweep asks again. Of several concurrent callers only one asks. Otherwise each would double the pause before
    the next call.

    Args:
        fresh: payments that the caller has opened as ``processing``. Those that a sweep has asked about since are skipped.
        more: the caller asks about other payments next, so do not wait for slow answers.

    Returns:
        Groups of answers, in the order in which the provider gives them.
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
    """Store what the next call to the provider needs, for payments without a final answer."""
    for result in results:
        if result.outcome not in (Outcome.ACTION, Outcome.POSTPONED):
            continue  # building a query with the ORM costs more than everything else here
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
    """What the customer must do for the open payment of an order, or None. Asks the provider.

    Raises:
        ProviderUnavailable: the provider did not answer.
    """
    payment = Payment.objects.filter(order_id=order_id, status__in=OPEN, needs_action=True).first()
    return provider(payment.provider).action(charge_request(payment)) if payment else None


def put_back(fresh: Iterable[UUID]) -> None:
    """Make these payments due at once, because the provider was not asked about them. May run twice."""
    mine = Payment.objects.filter(pk__in=list(fresh), status=Status.PROCESSING, attempts=1)
    mine.update(status=Status.CREATED, attempts=0, next_attempt_at=now() + FIRST_PAUSE, updated_at=Now())


def charge_request(payment: Payment) -> ChargeRequest:
    """The request to the provider for a payment."""
    return ChargeRequest(*(getattr(payment, name) for name in _REQUEST_FIELDS))


def answers_of(results: Iterable[ChargeResult]) -> list[Answer]:
    """Answers from these results. Results without a known outcome are left out."""
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
# The next call comes after 1, 2, 4 ... seconds.
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
"""  # noqa: S608 - our own constants
# An open payment takes any answer. A failed one takes a success, because the provider has the money. A success is final.
# A repeated answer is taken while the order has not been updated.
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
    """Record the provider's answers. Returns the payments that have newly succeeded.

    Args:
        answers: if there are two for one payment, the success counts.
        applied: the orders are updated in this same transaction, which has locked their rows.
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
    """Look up an order's failed payments in the provider's books. Charges nothing. Call it outside a transaction."""
    by_provider: dict[str, list[ChargeRequest]] = {}
    for payment in Payment.objects.filter(order_id=order_id, status=Status.FAILED):
        by_provider.setdefault(payment.provider, []).append(charge_request(payment))
    return [answer for name, requests in by_provider.items() for answer in answers_of(provider(name).look_up(requests))]


def untold_answers(payment_ids: Iterable[UUID]) -> list[Answer]:
    """Answers for the decided ones of these payments whose order is not updated yet."""
    rows = Payment.objects.filter(pk__in=list(payment_ids), status__in=_DECIDED, applied_at=None)
    return [Answer(*row) for row in rows.values_list("order_id", "idempotency_key", "status", "provider_ref")]


def captured_of(order_id: UUID) -> list[Captured]:
    """The successful payments of an order that have no refund."""
    rows = Payment.objects.filter(order_id=order_id, status=Status.SUCCEEDED).order_by("pk")
    kept = rows.filter(~Exists(Refund.objects.filter(payment=OuterRef("pk"))))
    return [Captured(order_id, pk, amount) for pk, amount in kept.values_list("pk", "amount")]


def due_payments(limit: int) -> list[UUID]:
    """Open payments that are due to be asked about again."""
    due = Payment.objects.filter(status__in=OPEN, next_attempt_at__lte=Now()).order_by("next_attempt_at")
    return list(due.values_list("pk", flat=True)[:limit])


def decided_payments(limit: int) -> list[UUID]:
    """Decided payments whose order is not updated yet."""
    rows = Payment.objects.filter(status__in=_DECIDED, applied_at=None)
    return list(rows.order_by("updated_at").values_list("pk", flat=True)[:limit])
