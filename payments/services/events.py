"""What a provider tells us of its own accord: kept first, confirmed by its books, then applied.

A failure is believed at once, for it moves no money, and the books are asked a moment later. A success moves nothing before
the books confirm it. So events may come in any order, twice, late, and before their payment.
"""

import hashlib
import hmac
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from flashsale.core import bulk
from flashsale.core.clock import now
from flashsale.core.errors import Invalid
from payments.models import Payment, ProviderEvent
from payments.providers.base import ChargeRequest, Outcome
from payments.providers.registry import provider
from payments.services.charges import FIRST_PAUSE, PAUSE, Answer, Status, answers_of, record
from payments.services.refunds import send_again

_PROVIDER = "sandbox"
_SUCCEEDED, _FAILED = "charge.succeeded", "charge.failed"
_TOLD = {_SUCCEEDED: Outcome.SUCCEEDED, _FAILED: Outcome.DECLINED}
_STATUS_TOLD = {_SUCCEEDED: Status.SUCCEEDED, _FAILED: Status.FAILED}
_DUE = f"""
WITH due AS (
    SELECT id FROM payments_providerevent WHERE outcome = '' AND next_attempt_at <= now() AND kind = ANY(%(kinds)s)
    AND (%(keys)s::text[] IS NULL OR payload ->> 'idempotency_key' = ANY(%(keys)s))
    ORDER BY next_attempt_at, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
UPDATE payments_providerevent e SET attempts = attempts + 1, next_attempt_at = now() + {PAUSE} FROM due WHERE e.id = due.id
RETURNING e.id, e.provider, e.kind, e.payload ->> 'idempotency_key'
"""  # noqa: S608 - a constant of ours


class SignatureInvalid(Invalid):
    """The signature is wrong or too old."""

    code = "signature_invalid"


@dataclass(slots=True)
class Confirmed:
    """What the provider's books say of the payments that events told of; ``events``: id of each that is settled -> how."""

    answers: list[Answer] = field(default_factory=list)
    events: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Event:
    id: int
    provider: str
    kind: str
    key: str


def sign(body: bytes, moment: int) -> str:
    """The sandbox's signature header: ``t=<unix seconds>,v1=<HMAC-SHA256 of "t.body">``."""
    secret = settings.SANDBOX_WEBHOOK_SECRET.encode()
    digest = hmac.new(secret, f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"


@transaction.atomic
def receive_event(body: bytes, signature: str) -> list[UUID]:
    """Keep a sandbox event; returns the payments it tells of. A repetition has no second effect.

    An event of a kind that we do not know is kept for staff, one of a payment that we do not know waits for it.

    Raises:
        SignatureInvalid: wrong, older than ``WEBHOOK_TOLERANCE_S``, or there is no secret to check it by.
        Invalid: not an event.
    """
    _check(body, signature)
    event_id, kind, key = _read_event(body)
    known = kind in _TOLD
    row = {
        "provider": _PROVIDER,
        "event_id": event_id,
        "kind": kind,
        "payload": {"idempotency_key": key},
        "outcome": ProviderEvent.Outcome.WAITING if known else ProviderEvent.Outcome.UNKNOWN_KIND,
        "next_attempt_at": now() + FIRST_PAUSE if kind == _FAILED else now(),
    }
    if not bulk.insert(ProviderEvent, [row]) or not known:
        return []
    payment = Payment.objects.filter(provider=_PROVIDER, idempotency_key=key).first()
    if payment is None:
        return []
    if kind == _FAILED:
        record([Answer(payment.order_id, key, Status.FAILED, "")], applied=False)
    return [payment.pk]


def _check(body: bytes, signature: str) -> None:
    parts = dict(part.split("=", 1) for part in signature.split(",") if "=" in part)
    stamp = parts.get("t", "")
    moment = int(stamp) if stamp.isascii() and stamp.isdigit() and len(stamp) < 12 else 0
    fresh = abs(time.time() - moment) <= settings.WEBHOOK_TOLERANCE_S
    if not settings.SANDBOX_WEBHOOK_SECRET:  # a signature that anybody can make
        raise SignatureInvalid
    if not fresh or not hmac.compare_digest(sign(body, moment).encode(), signature.encode()):
        raise SignatureInvalid


def _read_event(body: bytes) -> tuple[str, str, str]:
    """Id, kind and idempotency key; the key may be missing where the kind is none of ours."""
    try:
        event = json.loads(body)
        event_id, kind = event["id"], event["type"]
        key = event["data"]["idempotency_key"] if kind in _TOLD else _key_of(event)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Invalid("This is not an event.") from error
    values = event_id, kind, key
    if not all(isinstance(value, str) and len(value) <= 64 and value.isprintable() for value in values):
        raise Invalid("This is not an event.")
    if not (event_id and kind and (key or kind not in _TOLD)):
        raise Invalid("This is not an event.")
    return values


def _key_of(event: Mapping[str, Any]) -> str:
    data = event.get("data")
    key = data.get("idempotency_key") if isinstance(data, dict) else None
    return key if isinstance(key, str) and len(key) <= 64 and key.isprintable() else ""


def confirm_events(limit: int, payment_ids: Iterable[UUID] | None = None) -> Confirmed:
    """Ask the provider's books about what events told us; not in a transaction. May run twice and at once.

    Whoever calls it applies the answers, then closes the events: one of which that was not done is confirmed again.

    Args:
        payment_ids: of these payments alone.
    """
    due = _due_events(limit, payment_ids)
    by_provider: dict[str, list[_Event]] = {}
    for event in due:
        by_provider.setdefault(event.provider, []).append(event)
    confirmed = Confirmed()
    for name, events in by_provider.items():
        _confirm(name, events, confirmed)
    return confirmed


def _due_events(limit: int, payment_ids: Iterable[UUID] | None) -> list[_Event]:
    keys = None
    if payment_ids is not None:
        keys = list(Payment.objects.filter(pk__in=list(payment_ids)).values_list("idempotency_key", flat=True))
    with connection.cursor() as cursor:
        cursor.execute(_DUE, {"keys": keys, "kinds": list(_TOLD), "limit": limit})
        return sorted((_Event(*row) for row in cursor.fetchall()), key=lambda event: event.id)


def _confirm(name: str, events: list[_Event], confirmed: Confirmed) -> None:
    payments = {
        payment.idempotency_key: payment
        for payment in Payment.objects.filter(provider=name, idempotency_key__in=[event.key for event in events])
    }
    events = [event for event in events if event.key in payments]  # the others wait
    books = provider(name)
    books.hear([(_request(payments[event.key]), _TOLD[event.kind]) for event in events])
    orders = {key: payment.order_id for key, payment in payments.items()}
    answers = {answer.key: answer for answer in answers_of(books.look_up(list(orders)), orders)}
    decided = {key: answer for key, answer in answers.items() if answer.status in _STATUS_TOLD.values()}
    for event in events:
        if event.key in decided:
            agrees = decided[event.key].status == _STATUS_TOLD[event.kind]
            confirmed.events[event.id] = ProviderEvent.Outcome.APPLIED if agrees else ProviderEvent.Outcome.CONTRADICTED
    send_again(payments[key].pk for key, answer in decided.items() if answer.status == Status.SUCCEEDED)
    confirmed.answers += decided.values()


def _request(payment: Payment) -> ChargeRequest:
    return ChargeRequest(payment.idempotency_key, payment.amount, payment.currency, payment.method)


def close_events(confirmed: Confirmed) -> None:
    """Note that the orders have learnt of these events. May run twice."""
    for outcome in set(confirmed.events.values()):
        ids = [event for event, settled in confirmed.events.items() if settled == outcome]
        ProviderEvent.objects.filter(pk__in=ids).update(outcome=outcome)
