"""Cancellation of unpaid orders."""

from uuid import UUID

from django.db import transaction

from flashsale.core.clock import now
from inventory import selectors
from inventory import services as inventory
from orders.errors import NotCancellable
from orders.models import GateEffect
from orders.services import units
from orders.services.payment import locked_of
from orders.states import OrderStatus
from orders.transitions import advance, expire


def _cancel(order_id: UUID, *, reason: str, actor: str = "", kind: GateEffect.Kind = GateEffect.Kind.RELEASE) -> bool:
    cancelled = advance([order_id], OrderStatus.CANCELLED, reason=reason, actor=actor)
    units.release([inventory.Line(order.item, order.id, order.quantity) for order in cancelled], kind)
    return bool(cancelled)


@transaction.atomic
def cancel(order_id: UUID, customer_id: int) -> None:
    """Cancel an unpaid order for its customer. May run twice.

    In the second half of the payment window the order counts as left unpaid. Otherwise a customer could hold units for ever
    by cancelling just before each deadline and ordering again.

    Raises:
        OrderNotFound, NotCancellable: nothing was changed.
    """
    order = locked_of(order_id, customer_id)
    if order.status == OrderStatus.CANCELLED:
        return
    is_late = order.expires_at - now() < selectors.payment_window(order.item_id) / 2
    kind = GateEffect.Kind.EXPIRED if is_late else GateEffect.Kind.RELEASE
    if not _cancel(order_id, reason="by_customer", kind=kind):
        raise NotCancellable


@transaction.atomic
def cancel_unpaid(limit: int) -> int:
    """Cancel up to ``limit`` orders whose payment is overdue, most overdue first, and return how many were cancelled.

    May run twice and concurrently: rows locked by another transaction are skipped.
    """
    cancelled = expire(limit)
    lines = [inventory.Line(order.item, order.id, order.quantity) for order in cancelled]
    units.release(lines, GateEffect.Kind.EXPIRED)
    return len(cancelled)


@transaction.atomic
def cancel_by_staff(order_id: UUID, actor: str) -> None:
    """
    Raises:
        NotCancellable: the order is paid or has ended.
    """
    if not _cancel(order_id, reason="by_staff", actor=actor):
        raise NotCancellable
