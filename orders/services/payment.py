"""Payments and refunds of orders."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from django.db import connection, transaction

from flashsale.core.clock import now
from flashsale.core.errors import Invalid
from orders.errors import NotCancellable, NotPayable, OrderNotFound
from orders.models import RESTOCKED, Order
from orders.services import units
from orders.states import OrderStatus
from orders.transitions import Moved, advance
from payments import services as payments
from payments.models import Payment


def request_payments(order_ids: Iterable[UUID]) -> payments.Opened:
    """Open payments for reserved orders and return the open payments of these orders.

    May run twice. If two calls run at once, only the one that opened a payment has it in ``fresh`` and charges it.
    An order that costs nothing is paid at once, with or without a payment method. If a customer has too many failed payments,
    no payment is opened: the order waits as if it named no method.
    """
    ids = list(order_ids)
    with transaction.atomic():
        ready = advance(ids, OrderStatus.PENDING_PAYMENT)
        paying = [order for order in ready if order.total and payments.known_method(order.payment_method)]
        fresh = payments.open_by_chain([_payment(order, order.payment_method) for order in paying])
        _settle_free([order.id for order in ready if not order.total])
    if len(fresh) == len(ids):
        return payments.Opened(fresh, [])
    still_open = Payment.objects.filter(order_id__in=ids, status__in=payments.OPEN).exclude(pk__in=fresh)
    return payments.Opened(fresh, list(still_open.values_list("pk", flat=True)))


def _payment(order: Moved, method: str) -> payments.PaymentRequest:
    return payments.PaymentRequest(order.id, order.customer, order.total, order.currency, method)


def _settle_free(order_ids: Iterable[UUID]) -> None:
    free = advance(order_ids, OrderStatus.PAID, reason="free")
    units.sell((order.item, order.id, order.quantity) for order in free)


@transaction.atomic
def apply_answers(answers: Sequence[payments.Answer]) -> list[UUID]:
    """Record the provider's answers and update the orders. May run twice, and in any order.

    Payments are updated first: only a payment that is captured for the first time here can mark an order as paid. A payment for
    an order that no longer waits for one is refunded, and so is a second payment for the same order. A failed payment leaves
    the order waiting.

    Returns:
        The orders that are paid now.
    """
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, [[str(answer.order_id) for answer in answers]])
    captured = payments.record(answers, applied=True)
    paid = advance({capture.order_id for capture in captured}, OrderStatus.PAID)
    units.sell((order.item, order.id, order.quantity) for order in paid)
    waiting = {order.id for order in paid}
    for capture in captured:
        if capture.order_id in waiting:
            waiting.discard(capture.order_id)
        elif not _is_the_only_one(capture):
            payments.request_refund([capture], "order_not_waiting")
    return [order.id for order in paid]


_LOCK = "SELECT FROM orders_order WHERE id = ANY(%s::uuid[]) ORDER BY id FOR UPDATE"


def _is_the_only_one(capture: payments.Captured) -> bool:
    """Whether this payment is the only one of a paid order. Data of an earlier release may look like that."""
    paid = Order.objects.filter(pk=capture.order_id, status=OrderStatus.PAID, unit_price__gt=0)
    return paid.exists() and payments.captured_of(capture.order_id) == [capture]


def locked_of(order_id: UUID, customer_id: int) -> Order:
    """The customer's order, locked.

    Raises:
        OrderNotFound: the customer has no such order.
    """
    order = Order.objects.select_for_update().filter(pk=order_id, customer_id=customer_id).first()
    if order is None:
        raise OrderNotFound
    return order


@transaction.atomic
def pay(order_id: UUID, customer_id: int, method: str) -> UUID | None:
    """Open a payment for the customer and return its id. Returns None if one is open already or nothing is due. May run twice.

    Raises:
        OrderNotFound, NotPayable, PaymentAttemptsExhausted, TooManyPayments: nothing was changed.
        Invalid: the payment method is unknown.
    """
    if not payments.known_method(method):
        raise Invalid(errors={"payment_method": ["Unknown payment method."]})
    order = locked_of(order_id, customer_id)
    total = order.unit_price * order.quantity
    if order.status == OrderStatus.PENDING_PAYMENT and order.expires_at > now():
        if total:
            return payments.try_payment(payments.PaymentRequest(order.pk, customer_id, total, order.currency, method))
        _settle_free([order.pk])
        return None
    if order.status == OrderStatus.PENDING_PAYMENT and payments.captured_of(order_id):
        return None  # already captured; the order's status follows
    repeated = Payment.objects.filter(
        order_id=order_id, status=payments.Status.SUCCEEDED, origin=Payment.Origin.CUSTOMER, method=method
    )
    if order.status == OrderStatus.PAID and (not total or repeated.exists()):
        return None
    raise NotPayable


def refund_by_staff(order_id: UUID, actor: str, *, restock: bool = False) -> None:
    """Refund a paid order. If no captured payment is known, the provider is asked first.

    Args:
        restock: put the units back on sale and let the customer buy again. Otherwise the units stay sold.

    Raises:
        NotCancellable: the order is not paid, or no payment was captured for it.
    """
    if Order.objects.filter(pk=order_id, status=OrderStatus.PAID, unit_price__gt=0) and not payments.captured_of(order_id):
        apply_answers(payments.look_up(order_id))
    _refund(order_id, actor, restock=restock)


@transaction.atomic
def _refund(order_id: UUID, actor: str, *, restock: bool) -> None:
    refunded = advance([order_id], OrderStatus.REFUNDED, reason=RESTOCKED if restock else "by_staff", actor=actor)
    if not refunded:
        raise NotCancellable("Only a paid order can be refunded.")
    captured = payments.captured_of(order_id)
    if refunded[0].total and not captured:
        raise NotCancellable("The provider has no captured payment for this order. Check the order's payments.")
    payments.request_refund(captured, "by_staff")
    if restock:
        units.put_back_on_sale((order.item, order.id, order.quantity) for order in refunded)


def stale_reserved(limit: int) -> list[UUID]:
    """Orders that have been reserved for more than 3 seconds without a payment request, oldest first."""
    rows = Order.objects.filter(status=OrderStatus.RESERVED).extra(where=["updated_at < now() - interval '3 seconds'"])
    return list(rows.order_by("updated_at", "pk").values_list("pk", flat=True)[:limit])
