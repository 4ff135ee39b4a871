"""Limits of payment attempts, per order and per customer over all orders. The provider is not called."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import QuerySet

from flashsale.core.clock import now
from payments.errors import PaymentAttemptsExhausted, TooManyPayments
from payments.models import Payment
from payments.services.charges import OPEN, PaymentRequest, Status, open_payments

_SPAN = timedelta(hours=1)


def try_payment(request: PaymentRequest) -> UUID | None:
    """Open a payment at the customer's request. Returns None if the order has an open or a successful payment.

    The caller must lock the order's row until the transaction ends. Concurrent requests of one customer for several orders
    are decided one after the other.

    Raises:
        PaymentAttemptsExhausted: the order has had ``PAYMENT_ATTEMPTS_PER_ORDER`` payments.
        TooManyPayments: ``FAILED_PAYMENTS_PER_HOUR`` payments of the customer did not succeed in the last hour.
    """
    earlier = list(Payment.objects.filter(order_id=request.order_id).values_list("status", flat=True))
    if any(status in (*OPEN, Status.SUCCEEDED) for status in earlier):
        return None
    if len(earlier) >= settings.PAYMENT_ATTEMPTS_PER_ORDER:
        raise PaymentAttemptsExhausted
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('payments of customer ' || %s, 0))", [request.customer_id]
        )
    _refuse_too_many(request.customer_id)
    return next(iter(open_payments([request], Payment.Origin.CUSTOMER)), None)


def _refuse_too_many(customer_id: int) -> None:
    tried = unsuccessful([customer_id]).order_by("-created_at").values_list("created_at", flat=True)
    last = settings.FAILED_PAYMENTS_PER_HOUR - 1
    counting = list(tried[last : last + 1])
    if counting:
        raise TooManyPayments(retry_after=max(1.0, (counting[0] + _SPAN - now()).total_seconds()))


def open_by_chain(requests: Sequence[PaymentRequest]) -> list[UUID]:
    """Open a payment in progress for each order whose customer is below the limit. Returns the ids of the new payments."""
    within = f"""(
        SELECT count(*) FROM payments_payment p WHERE p.customer_id = rows.customer_id AND p.status <> 'succeeded'
        AND p.created_at > now() - interval '{_SPAN.total_seconds():.0f} s'
    ) < {settings.FAILED_PAYMENTS_PER_HOUR}"""  # noqa: S608 - our own numbers
    return open_payments(requests, Payment.Origin.CHAIN, asking=True, only=within)


def unsuccessful(customers: Iterable[int]) -> "QuerySet[Payment]":
    """Payments of these customers in the last hour that have not succeeded."""
    recent = Payment.objects.filter(customer_id__in=list(customers), created_at__gt=now() - _SPAN)
    return recent.exclude(status=Status.SUCCEEDED)
