"""Orders and the money for them."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from django.db import transaction

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
    """Open payments of reserved orders; returns those open for these orders. May run twice: of the two that run at once only
    the one that opened a payment has it among its fresh ones, about which it asks the provider next.

    An order that costs nothing is paid at once, whether it names a method or not. For a customer with too many failed
    payments none is opened: the order waits as if it named no method.
    """
    ids = list(order_ids)
    with transaction.atomic():
        ready = advance(ids, OrderStatus.PENDING_PAYMENT)
        paying = [order for order in ready if order.total and payments.known_method(order.payment_method)]
        over = payments.over_bound({order.customer for order in paying})
        requests = [_payment(order, order.payment_method) for order in paying if order.customer not in over]
        fresh = payments.open_payments(requests, Payment.Origin.CHAIN, asking=True)
        _settle_free([order.id for order in ready if not order.total])
    still_open = Payment.objects.filter(order_id__in=ids, status__in=payments.OPEN).exclude(pk__in=fresh)
    return payments.Opened(fresh, list(still_open.values_list("pk", flat=True)))


def _payment(order: Moved, method: str) -> payments.PaymentRequest:
    return payments.PaymentRequest(order.id, order.customer, order.total, order.currency, method)


def _settle_free(order_ids: Iterable[UUID]) -> None:
    free = advance(order_ids, OrderStatus.PAID, reason="free")
    units.sell((order.item, order.id, order.quantity) for order in free)


@transaction.atomic
def apply_answers(answers: Sequence[payments.Answer]) -> None:
    """Record what the provider said, and let the orders learn of it. May run twice, and in any order.

    The payments' rows move first: an order is paid only by money of which it is new here that it was captured. Money for an
    order that is no longer waiting for it goes back, and so does what was captured for it a second time; a payment that
    failed leaves the order waiting.
    """
    list(Order.objects.select_for_update().filter(pk__in={a.order_id for a in answers}).order_by("pk").values_list("pk"))
    captured = payments.record(answers, applied=True)
    paid = advance({capture.order_id for capture in captured}, OrderStatus.PAID)
    units.sell((order.item, order.id, order.quantity) for order in paid)
    waiting = {order.id for order in paid}
    for capture in captured:
        if capture.order_id in waiting:
            waiting.discard(capture.order_id)
        elif not _is_the_only_one(capture):
            payments.request_refund([capture], "order_not_waiting")


def _is_the_only_one(capture: payments.Captured) -> bool:
    """Whether its order is paid, and by no other money: books of an earlier release may be like that."""
    paid = Order.objects.filter(pk=capture.order_id, status=OrderStatus.PAID, unit_price__gt=0)
    return paid.exists() and payments.captured_of(capture.order_id) == [capture]


def locked_of(order_id: UUID, customer_id: int) -> Order:
    """The customer's order, locked.

    Raises:
        OrderNotFound: nobody's, or somebody else's.
    """
    order = Order.objects.select_for_update().filter(pk=order_id, customer_id=customer_id).first()
    if order is None:
        raise OrderNotFound
    return order


@transaction.atomic
def pay(order_id: UUID, customer_id: int, method: str) -> UUID | None:
    """Open a payment by the customer; None when there is one already, or nothing to pay, so a repetition is harmless.

    Raises:
        OrderNotFound, NotPayable, PaymentAttemptsExhausted, TooManyPayments: nothing happened.
        Invalid: unknown method.
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
        return None  # paid already, the order is about to learn of it
    repeated = Payment.objects.filter(
        order_id=order_id, status=payments.Status.SUCCEEDED, origin=Payment.Origin.CUSTOMER, method=method
    )
    if order.status == OrderStatus.PAID and (not total or repeated.exists()):
        return None
    raise NotPayable


def refund_by_staff(order_id: UUID, actor: str, *, restock: bool = False) -> None:
    """Give the money of a paid order back. The provider is asked first where no payment explains it.

    Args:
        restock: the units go on sale again, and the customer may buy as many again; else they stay sold.

    Raises:
        NotCancellable: it is not paid, or nothing was captured for it.
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
        raise NotCancellable("The provider holds no money for this order; look at the order's payments.")
    payments.request_refund(captured, "by_staff")
    if restock:
        units.put_back_on_sale((order.item, order.id, order.quantity) for order in refunded)


def stale_reserved(limit: int) -> list[UUID]:
    """Orders whose payment should have been asked for some seconds ago, the oldest first."""
    rows = Order.objects.filter(status=OrderStatus.RESERVED).extra(where=["updated_at < now() - interval '3 seconds'"])
    return list(rows.order_by("updated_at", "pk").values_list("pk", flat=True)[:limit])
