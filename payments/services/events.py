"""Webhook events: stored first, confirmed by the provider's books, then applied.

A failure is applied at once, because it moves no money, and the books are asked a moment later. A success is applied only
after the books confirm it. So events may arrive in any order, twice, late, and before their payment.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from flashsale.core import bulk
from flashsale.core.clock import now
from payments.models import Payment, ProviderEvent
from payments.providers.base import Outcome
from payments.providers.registry import provider
from payments.services.charges import FIRST_PAUSE, PAUSE, Answer, Status, answers_of, charge_request, record
from payments.services.refunds import send_again

_STATUS_TOLD = {Outcome.SUCCEEDED: Status.SUCCEEDED, Outcome.DECLINED: Status.FAILED}
# Events stored by an earlier release have no ``told``. Their kind tells the outcome.
_TELLS = "coalesce(payload ->> 'told', CASE kind WHEN 'charge.succeeded' THEN 'succeeded' ELSE 'declined' END)"
_DUE = f"""
WITH due AS (
    SELECT id FROM payments_providerevent WHERE outcome = '' AND next_attempt_at <= now()
    AND (%(keys)s::text[] IS NULL OR payload ->> 'idempotency_key' = ANY(%(keys)s))
    ORDER BY next_attempt_at, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
UPDATE payments_providerevent e SET attempts = attempts + 1, next_attempt_at = now() + {PAUSE} FROM due WHERE e.id = due.id
RETURNING e.id, e.provider, {_TELLS}, e.payload ->> 'idempotency_key', coalesce(e.payload ->> 'ref', '')
"""  # noqa: S608 - our own constants


@dataclass(slots=True)
class Confirmed:
    """Answers from the provider's books about payments with events. ``events``: id of each settled event -> its outcome."""

    answers: list[Answer] = field(default_factory=list)
    events: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Waiting:
    id: int
    provider: str
    told: str
    key: str
    ref: str


def signature_header() -> str:
    """Name of the signature header of the default provider's webhooks."""
    return provider(settings.PAYMENT_PROVIDER).signature_header


def receive_event(name: str, body: bytes, headers: Mapping[str, str]) -> list[UUID]:
    """Store a provider's event. Returns the payments that it is about. A repeated event has no second effect.

    An event of an unknown kind is stored for staff. An event of an unknown payment waits for the payment.

    Args:
        body: the raw bytes of the request.

    Raises:
        NotFound: there is no such provider.
        SignatureInvalid: the signature is wrong or older than ``WEBHOOK_TOLERANCE_S``, or no secret is configured.
        Invalid: the body is not a valid event.
    """
    event = provider(name).read_event(body, headers)
    is_of_a_charge = event.outcome in _STATUS_TOLD
    row = {
        "provider": name,
        "event_id": event.id,
        "kind": event.kind,
        "payload": {"idempotency_key": event.key, "ref": event.ref, "told": event.outcome or ""},
        "outcome": ProviderEvent.Outcome.WAITING if is_of_a_charge else ProviderEvent.Outcome.UNKNOWN_KIND,
        "next_attempt_at": now() + FIRST_PAUSE if event.outcome is Outcome.DECLINED else now(),
    }
    with transaction.atomic():
        if not bulk.insert(ProviderEvent, [row]) or not is_of_a_charge:
            return []
        payment = Payment.objects.filter(provider=name, idempotency_key=event.key).first()
        if payment is None:
            return []
        if event.outcome is Outcome.DECLINED:
            record([Answer(payment.order_id, event.key, Status.FAILED, event.ref)], applied=False)
        return [payment.pk]


def confirm_events(limit: int, payment_ids: Iterable[UUID] | None = None) -> Confirmed:
    """Ask the provider's books about waiting events. Call it outside a transaction. May run twice and concurrently.

    The caller applies the answers and then closes the events. An event that is not closed is confirmed again.

    Args:
        payment_ids: only events of these payments.
    """
    by_provider: dict[str, list[_Waiting]] = {}
    for event in _due_events(limit, payment_ids):
        by_provider.setdefault(event.provider, []).append(event)
    confirmed = Confirmed()
    for name, events in by_provider.items():
        _confirm(name, events, confirmed)
    return confirmed


def _due_events(limit: int, payment_ids: Iterable[UUID] | None) -> list[_Waiting]:
    keys = None
    if payment_ids is not None:
        keys = list(Payment.objects.filter(pk__in=list(payment_ids)).values_list("idempotency_key", flat=True))
    with connection.cursor() as cursor:
        cursor.execute(_DUE, {"keys": keys, "limit": limit})
        return sorted((_Waiting(*row) for row in cursor.fetchall()), key=lambda event: event.id)


def _confirm(name: str, events: list[_Waiting], confirmed: Confirmed) -> None:
    refs = {event.key: event.ref for event in events}
    rows = Payment.objects.filter(provider=name, idempotency_key__in=list(refs))
    requests = {
        row.idempotency_key: replace(charge_request(row), ref=row.provider_ref or refs[row.idempotency_key]) for row in rows
    }
    events = [event for event in events if event.key in requests]  # the others wait
    books = provider(name)
    books.hear([(requests[event.key], Outcome(event.told)) for event in events])
    answers = {answer.key: answer for answer in answers_of(books.look_up(list(requests.values())))}
    decided = {key: answer for key, answer in answers.items() if answer.status in _STATUS_TOLD.values()}
    for event in events:
        if event.key in decided:
            agrees = decided[event.key].status == _STATUS_TOLD[Outcome(event.told)]
            confirmed.events[event.id] = ProviderEvent.Outcome.APPLIED if agrees else ProviderEvent.Outcome.CONTRADICTED
    succeeded = [key for key, answer in decided.items() if answer.status == Status.SUCCEEDED]
    send_again(row.pk for row in rows if row.idempotency_key in succeeded)
    confirmed.answers += decided.values()


def close_events(confirmed: Confirmed) -> None:
    """Close these events after their orders are updated. May run twice."""
    for outcome in set(confirmed.events.values()):
        ids = [event for event, settled in confirmed.events.items() if settled == outcome]
        ProviderEvent.objects.filter(pk__in=ids).update(outcome=outcome)


def forget_events(older_than: timedelta) -> int:
    """Delete settled events older than this. Returns their number. Waiting events stay."""
    settled = ProviderEvent.objects.exclude(outcome=ProviderEvent.Outcome.WAITING)
    deleted, _ = settled.filter(received_at__lt=now() - older_than).delete()
    return deleted
