"""Orders as their customer sees them, row or not."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from flashsale.core.clock import from_us
from inventory.admission.admitted import AdmittedOrder
from orders.models import GateEffect, Intake, Order
from orders.states import OrderStatus
from payments.models import Payment

_PAGE = 100


def _time(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def waiting_view(order: AdmittedOrder, status: str = "queued", reason: str = "") -> dict[str, Any]:
    """An admitted order that has no row yet."""
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
        "unit_price": order.price,
        "total": str(Decimal(order.price) * order.units),
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
        "unit_price": str(order.unit_price),
        "total": str(order.unit_price * order.quantity),
        "currency": order.currency,
        "source": order.source,
        "seq": order.seq.partition("~")[0],
        "created_at": _time(order.admitted_at),
        "expires_at": _time(order.expires_at),
        "payment": payment
        and {
            "id": str(payment.pk),
            "status": payment.status,
            "method": payment.method,
            "amount": str(payment.amount),
            "currency": payment.currency,
            "failure_code": payment.failure_code,
        },
        "history": [{"status": event.status, "reason": event.reason, "at": _time(event.at)} for event in order.history.all()],
    }


def of_customer(customer_id: int, order_ids: Iterable[UUID] | None = None) -> list[dict[str, Any]]:
    """The customer's newest orders that PostgreSQL knows, or those of these ids."""
    rows = Order.objects.filter(customer_id=customer_id).prefetch_related("history")
    intake = Intake.objects.filter(payload__customer=customer_id)
    if order_ids is not None:
        wanted = list(order_ids)
        rows, intake = rows.filter(pk__in=wanted), Intake.objects.filter(pk__in=wanted)
    found = [
        waiting_view(order, "rejected" if row.reason else "reserved", row.reason)
        for row in intake
        if (order := AdmittedOrder.from_payload(row.payload)).customer == customer_id
    ]
    orders = list(rows[:_PAGE])
    latest = {
        payment.order_id: payment
        for payment in Payment.objects.filter(order_id__in=[order.pk for order in orders]).order_by("pk")
    }
    return found + [_row_view(order, latest.get(order.pk)) for order in orders]


def by_source_seq(source: str, seq: str) -> tuple[UUID, int, str] | None:
    """Order id, customer and digest of the request that used this pair."""
    row = Order.objects.filter(source=source, seq=seq).values_list("pk", "customer_id", "digest").first()
    if row:
        return row
    waiting = Intake.objects.filter(payload__source=source, payload__seq=seq).first()
    if waiting is None:
        return None
    order = AdmittedOrder.from_payload(waiting.payload)
    return order.id, order.customer, order.digest


def customers_in_order(item: int) -> list[int]:
    """Customers with an order for this item, each once, in the order of their first."""
    rows = Order.objects.filter(item_id=item).order_by("created_at", "pk").values_list("customer_id", flat=True)
    return list(dict.fromkeys(rows))


def unpaid_of(order_ids: Iterable[UUID]) -> list[tuple[UUID, datetime]]:
    """Those of these orders that wait for their payment, with their deadlines."""
    rows = Order.objects.filter(pk__in=list(order_ids), status=OrderStatus.PENDING_PAYMENT)
    return list(rows.values_list("pk", "expires_at"))


@dataclass(slots=True)
class Holds:
    """``held``: order -> customer and units set aside; ``buyers``: customer -> units held or bought."""

    held: dict[UUID, tuple[int, int]] = field(default_factory=dict)
    buyers: Counter[int] = field(default_factory=Counter)
    in_intake: int = 0

    def add(self, order: UUID, customer: int, units: int) -> None:
        """Count an order that holds units."""
        self.held[order] = customer, units
        self.buyers[customer] += units


def holds_of(item: int) -> Holds:
    """Who holds or has bought units of an item, by the ledger."""
    holds = Holds()
    for intake in Intake.objects.filter(item_id=item):
        holds.in_intake += 1
        if not intake.reason:
            order = AdmittedOrder.from_payload(intake.payload)
            holds.add(order.id, order.customer, order.units)
    holding = (OrderStatus.RESERVED, OrderStatus.PENDING_PAYMENT)
    bought = (OrderStatus.PAID, OrderStatus.REFUNDED)
    rows = Order.objects.filter(item_id=item, status__in=holding + bought)
    for pk, customer, units, status in rows.values_list("pk", "customer_id", "quantity", "status").iterator():
        if status in holding:
            holds.add(pk, customer, units)
        else:
            holds.buyers[customer] += units
    return holds


def known_ids(order_ids: Iterable[UUID]) -> set[UUID]:
    """Those of these orders that the ledger has decided on."""
    ids = list(order_ids)
    rows = Order.objects.order_by().filter(pk__in=ids).values_list("pk", flat=True)
    # One statement: between two, an order could leave the intake after the first and be a row before the second.
    return set(rows.union(Intake.objects.filter(pk__in=ids).values_list("pk", flat=True)))


def pending_effect_count(item: int) -> int:
    """Effects that the gate of an item has not been told of."""
    return GateEffect.objects.filter(item_id=item).count()
