"""Read queries for orders, including orders in the intake that have no row yet."""

from collections.abc import Collection, Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from flashsale.core import money
from flashsale.core.clock import from_us
from inventory.admission.admitted import AdmittedOrder, read
from orders.errors import OrderInDoubt
from orders.models import CUSTOMER_TEXT, SEQ_TEXT, SOURCE_TEXT, Intake, Order
from orders.states import OrderStatus
from payments.models import Payment
from payments.services import OPEN

LONGEST_PAGE = 100


def _time(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def waiting_view(order: AdmittedOrder, status: str = "queued", reason: str = "") -> dict[str, Any]:
    """The API view of an admitted order that has no row yet."""
    at = _time(from_us(order.at))
    history = [{"status": "queued", "reason": "", "at": at}]
    if status != "queued":
        history.append({"status": status, "reason": reason, "at": at})
    return {
        "id": str(order.id),
        "status": status,
        "reason": reason,
        "sku": order.sku,
        "quantity": order.units,
        "unit_price": money.text(Decimal(order.price), order.currency),
        "total": money.text(Decimal(order.price) * order.units, order.currency),
        "currency": order.currency,
        "source": order.source,
        "seq": order.seq,
        "created_at": at,
        "expires_at": None,
        "payment": None,
        "history": history,
    }


def _row_view(order: Order, payment: Payment | None) -> dict[str, Any]:
    return {
        "id": str(order.pk),
        "status": order.status,
        "reason": order.reason,
        "sku": order.sku,
        "quantity": order.quantity,
        "unit_price": money.text(order.unit_price, order.currency),
        "total": money.text(order.unit_price * order.quantity, order.currency),
        "currency": order.currency,
        "source": order.source,
        "seq": order.seq.partition("~")[0] if order.source else "",
        "created_at": _time(order.admitted_at),
        "expires_at": _time(order.expires_at),
        "payment": payment
        and {
            "id": str(payment.pk),
            "status": payment.status,
            "method": payment.method,
            "amount": money.text(payment.amount, payment.currency),
            "currency": payment.currency,
            "failure_code": payment.failure_code,
            "needs_action": payment.needs_action and payment.status in OPEN,
            "refund": _refund_view(payment),
        },
        "history": [{"status": event.status, "reason": event.reason, "at": _time(event.at)} for event in order.history.all()],
    }


def _refund_view(payment: Payment) -> dict[str, Any] | None:
    refund = getattr(payment, "refund", None)  # raises ObjectDoesNotExist (an AttributeError) if there is none
    return refund and {"status": refund.status, "amount": money.text(refund.amount, payment.currency), "reason": refund.reason}


def of_customer(
    customer_id: int,
    order_ids: Iterable[UUID] | None = None,
    *,
    items: Collection[int] | None = None,
    limit: int = LONGEST_PAGE,
    before: UUID | None = None,
) -> list[dict[str, Any]]:
    """The customer's newest orders in PostgreSQL.

    Args:
        order_ids: only these orders.
        items: only orders of these items.
        limit: maximum number of order rows. Orders in the intake are returned in addition.
        before: only orders with a smaller id.
    """
    rows = Order.objects.filter(customer_id=customer_id).prefetch_related("history")
    intake = Intake.objects.alias(customer=CUSTOMER_TEXT).filter(customer=str(customer_id))
    if order_ids is not None:
        wanted = list(order_ids)
        rows, intake = rows.filter(pk__in=wanted), intake.filter(pk__in=wanted)
    if items is not None:
        rows, intake = rows.filter(item_id__in=items), intake.filter(item_id__in=items)
    if before is not None:
        rows, intake = rows.filter(pk__lt=before), intake.filter(pk__lt=before)
    found = [
        waiting_view(order, _status_in(row), row.reason)
        for row in intake
        if (order := _shown(row)) is not None and order.customer == customer_id
    ]
    orders = list(rows[:limit])
    latest = {
        payment.order_id: payment
        for payment in Payment.objects.filter(order_id__in=[order.pk for order in orders])
        .select_related("refund")
        .order_by("pk")
    }
    seen = {str(order.pk) for order in orders}  # an order may become a row between the two queries
    return [view for view in found if view["id"] not in seen] + [_row_view(order, latest.get(order.pk)) for order in orders]


def _status_in(row: Intake) -> str:
    return str(OrderStatus.REJECTED if row.reason else OrderStatus.RESERVED)


def status_of(order_id: UUID) -> str | None:
    """The status of an order in PostgreSQL, or None if it is not there."""
    waiting = Intake.objects.filter(pk=order_id).only("reason").first()  # read first: orders move from the intake to a row
    if waiting is not None:
        return _status_in(waiting)
    return Order.objects.filter(pk=order_id).values_list("status", flat=True).first()


def _shown(row: Intake) -> AdmittedOrder | None:
    """The order in an intake row, or None if another release wrote it in a format this release cannot read."""
    order = read(row.payload)
    if order is None:
        return None
    try:
        Decimal(order.price)
    except ArithmeticError:
        return None
    return order


def by_source_seq(source: str, seq: str) -> tuple[UUID, int, str] | None:
    """Order id, customer and request digest of the order that used this pair.

    Raises:
        OrderInDoubt: the order is in a format that only another release can read.
    """
    in_intake = Intake.objects.alias(source=SOURCE_TEXT, seq=SEQ_TEXT).filter(source=source, seq=seq)
    waiting = in_intake.order_by().first()  # read first: orders move from the intake to a row
    if waiting is None:
        return Order.objects.filter(source=source, seq=seq).values_list("pk", "customer_id", "digest").first()
    order = read(waiting.payload)
    if order is None:
        raise OrderInDoubt(retry_after=1)
    return order.id, order.customer, order.digest


def first_orders(item: int) -> dict[int, datetime]:
    """Customer -> time their first order for this item was admitted, oldest first. Rejected orders do not count."""
    rows = Order.objects.filter(item_id=item).exclude(status=OrderStatus.REJECTED).order_by("admitted_at", "pk")
    found: dict[int, datetime] = {}
    for customer, admitted_at in rows.values_list("customer_id", "admitted_at"):
        found.setdefault(customer, admitted_at)
    return found


class Unpaid(NamedTuple):
    """An order that waits for its payment, and until when."""

    id: UUID
    deadline: datetime


def unpaid_of(order_ids: Iterable[UUID]) -> list[Unpaid]:
    """The orders among these that wait for payment, with their payment deadlines."""
    rows = Order.objects.filter(pk__in=list(order_ids), status=OrderStatus.PENDING_PAYMENT)
    return [Unpaid(*row) for row in rows.values_list("pk", "expires_at")]
