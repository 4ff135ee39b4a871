"""Compare the provider's books with ours."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from itertools import islice

from django.conf import settings
from django.db.models import Sum

from payments.models import Payment, Refund
from payments.providers.base import Booked
from payments.providers.registry import provider
from payments.services.charges import Answer, Status

_PAGE = 200
_JUST_NOW = timedelta(minutes=2)  # younger charges may still be in progress


class Difference(StrEnum):
    """Kinds of differences. Only the first is repaired."""

    NOT_RECORDED = "captured, and our payment has not succeeded"
    NO_PAYMENT = "captured, and no payment of ours explains it"
    OTHER_AMOUNT = "captured with another amount or currency"
    REFUNDED_MORE = "more was given back than we know of"
    REFUNDED_LESS = "less was given back than we have recorded"
    NOT_CAPTURED = "our payment has succeeded, and nothing was captured"


@dataclass(frozen=True, slots=True)
class Found:
    """One difference. ``key`` is our id of the charge, ``ref`` the provider's."""

    kind: Difference
    key: str
    ref: str
    detail: str = ""


@dataclass(slots=True)
class Comparison:
    """``answers``: captured charges that we have not recorded, to be applied."""

    charges: int = 0
    found: list[Found] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)


def compare(since: datetime, until: datetime) -> Iterator[Comparison]:
    """Compare all charges captured from ``since`` to ``until``, page by page, for every provider. Changes nothing.

    Raises:
        ProviderUnavailable: the provider does not answer. The comparisons yielded before remain valid.
    """
    for name in settings.PAYMENT_PROVIDERS:
        if name != settings.PAYMENT_PROVIDER and not Payment.objects.filter(provider=name, created_at__gte=since).exists():
            continue
        captured = provider(name).captured(since - _JUST_NOW)
        seen: set[str] = set()
        while page := list(islice(captured, _PAGE)):
            seen.update(booked.key for booked in page)
            yield _of_page(name, [booked for booked in page if booked.at <= until])
        yield _not_captured(name, since, until, seen)


def _of_page(name: str, page: list[Booked]) -> Comparison:
    keys = [booked.key for booked in page]
    payments = {each.idempotency_key: each for each in Payment.objects.filter(provider=name, idempotency_key__in=keys)}
    done = Refund.objects.filter(payment__in=payments.values(), status=Refund.Status.SUCCEEDED)
    refunded = dict(done.values_list("payment_id").annotate(total=Sum("amount")).order_by())
    comparison = Comparison(charges=len(page))
    for booked in page:
        payment = payments.get(booked.key)
        if payment is None:
            comparison.found.append(Found(Difference.NO_PAYMENT, booked.key, booked.ref, f"{booked.amount} {booked.currency}"))
            continue
        _compare(booked, payment, refunded.get(payment.pk, Decimal(0)), comparison)
    return comparison


def _compare(booked: Booked, payment: Payment, refunded: Decimal, comparison: Comparison) -> None:
    kinds = []
    if (booked.amount, booked.currency) != (payment.amount, payment.currency):
        kinds.append((Difference.OTHER_AMOUNT, f"{booked.amount} {booked.currency}, not {payment.amount} {payment.currency}"))
    if payment.status != Status.SUCCEEDED:
        kinds.append((Difference.NOT_RECORDED, payment.status))
        comparison.answers.append(Answer(payment.order_id, booked.key, Status.SUCCEEDED, booked.ref))
    if booked.refunded != refunded:
        kind = Difference.REFUNDED_MORE if booked.refunded > refunded else Difference.REFUNDED_LESS
        kinds.append((kind, f"{booked.refunded}, not {refunded}"))
    comparison.found += [Found(kind, booked.key, booked.ref, detail) for kind, detail in kinds]


def _not_captured(name: str, since: datetime, until: datetime, seen: set[str]) -> Comparison:
    mine = Payment.objects.filter(status=Status.SUCCEEDED, provider=name, created_at__gte=since, created_at__lte=until)
    rows = mine.values_list("idempotency_key", "provider_ref").iterator()
    return Comparison(found=[Found(Difference.NOT_CAPTURED, key, ref) for key, ref in rows if key not in seen])
