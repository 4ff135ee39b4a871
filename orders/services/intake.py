"""Move admitted orders from the stream into PostgreSQL, or write them off."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import transaction

from flashsale.core import bulk, money
from flashsale.core.clock import to_us
from inventory import services as inventory
from inventory.admission.admitted import AdmittedOrder
from inventory.errors import UnknownItem
from inventory.models import SaleItem
from orders import holds, terms
from orders.errors import OrderNotFound
from orders.models import LOST, POISONED, PRICE_MISMATCH, GateEffect, Intake, Order
from orders.services import outbox
from orders.services.creation import make_rows
from orders.states import OrderStatus

logger = logging.getLogger(__name__)
_SOLD_OUT, _LIMIT = "sold_out", "limit_per_customer"


@transaction.atomic
def deduct(item_id: int, orders: Sequence[AdmittedOrder]) -> list[UUID]:
    """Reserve units for admitted orders in PostgreSQL and move the orders to the intake. May run twice.

    An order is moved with a rejection reason if there are no units left, its price is not the price of its terms, or it exceeds
    the limit per customer of its terms. The gate was wrong in these cases and is rebuilt.
    A written-off order stays written off, and its units are released.
    An order from an older gate epoch makes the current gate be rebuilt, because that gate has no hold for the order.
    After a gate was lost, the limit per customer is checked here too.

    Returns:
        The orders that are decided. The others refer to unknown terms and are unchanged; try them again later.

    Raises:
        UnknownItem: the item does not exist.
    """
    ids = [order.id for order in orders]
    item = inventory.lock_item(item_id)  # lock first, so that decisions of other transactions on these orders are visible below
    known = holds.known_ids(ids)
    if known:
        outbox.tell(GateEffect.Kind.RELEASE, [(item_id, pk) for pk in holds.written_off(known)])
    fresh = [order for order in orders if order.id not in known]
    judged = terms.judge(item, fresh)
    if judged.unknown:
        logger.warning(
            "order refers to unknown terms", extra={"event": "terms_unknown", "item": item_id, "orders": len(judged.unknown)}
        )
    fresh = [
        _at_our_price(order, item) if order.id in judged.wrong else order for order in fresh if order.id not in judged.unknown
    ]
    refused = dict.fromkeys(judged.wrong, PRICE_MISMATCH) | dict.fromkeys(judged.over, _LIMIT)
    if item.gate_life > 1:
        over = terms.over_limit(item, [order for order in fresh if order.id not in refused])
        refused |= dict.fromkeys(over, _LIMIT)
    requests = {order.id: order.units for order in fresh if order.id not in refused}
    reserved = inventory.reserve_units(item_id=item_id, requests=requests)
    refused |= dict.fromkeys(requests.keys() - reserved, _SOLD_OUT)
    rows = [
        {"id": order.id, "item_id": item_id, "payload": order.as_payload(), "reason": refused.get(order.id, "")}
        for order in fresh
    ]
    bulk.insert(Intake, rows)
    outbox.tell(GateEffect.Kind.REBUILD, [(item_id, order.id) for order in fresh if order.life != item.gate_life])
    return [pk for pk in ids if pk not in judged.unknown]


def _at_our_price(order: AdmittedOrder, item: SaleItem) -> AdmittedOrder:
    """The order at the item's price. Used to record a price mismatch, because the price in the stream may be any text."""
    extra = {"event": PRICE_MISMATCH, "order_id": str(order.id), "item": item.pk, "version": order.terms_version}
    logger.error(
        "order price does not match the item's terms", extra=extra | {"price": order.price[:32], "currency": order.currency[:8]}
    )
    return replace(order, price=money.text(item.price, item.currency), currency=item.currency, terms_version=item.terms_version)


@transaction.atomic
def lose(order_id: UUID, customer_id: int, item_id: int, admitted_at: datetime) -> None:
    """Record that an admitted order was lost before it reached PostgreSQL, unless PostgreSQL has it. May run twice.

    This function and ``deduct`` lock the item's row before they decide about an id that has no row.

    Raises:
        OrderNotFound: the item does not exist.
    """
    try:
        inventory.lock_item(item_id)
    except UnknownItem as error:
        raise OrderNotFound from error
    if not holds.known_ids([order_id]):
        _write_off(order_id, customer_id, item_id, LOST, admitted_at=admitted_at)


@transaction.atomic
def reject(order_id: UUID, customer_id: int, item_id: int, *, admitted_at: datetime, actor: str = "") -> bool:
    """Reject an order that PostgreSQL cannot store, and release its units. Later copies of the order are ignored.

    May run twice, and concurrently with every other step.

    Args:
        customer_id: the customer, used if the intake does not have the order; 0 if unknown.
        actor: user name of the person who rejected it, for the history.

    Returns:
        Whether the order is now rejected as poisoned. If not, it is a regular order and was left unchanged.
    """
    waiting = Intake.objects.filter(pk=order_id)
    waiting.select_for_update().first()  # lock the intake before the item's row, as ``create`` does
    with suppress(UnknownItem):
        inventory.lock_item(item_id)
    taken = waiting.first()
    waiting.delete()
    kept = (
        Order.objects.filter(pk=order_id).values_list("status", "reason").first()
    )  # read second: orders move from the intake to a row
    if kept is None:
        known = taken.payload.get("customer") if taken else None
        customer = known if isinstance(known, int) else customer_id
        reserved = inventory.reserved_units([order_id])
        inventory.give_back(inventory.record_release(inventory.Line(item_id, pk, units) for pk, units in reserved.items()))
        _write_off(order_id, customer, item_id, POISONED, admitted_at=admitted_at, actor=actor)
        outbox.tell(GateEffect.Kind.RELEASE, [(item_id, order_id)])
    return kept in (None, (OrderStatus.REJECTED, POISONED))


def _write_off(order_id: UUID, customer_id: int, item_id: int, reason: str, *, admitted_at: datetime, actor: str = "") -> None:
    """Insert a rejected order with only id, customer and item. If no row is possible, keep it in the intake."""
    item = SaleItem.objects.select_related("product").filter(pk=item_id).first()
    order = AdmittedOrder(
        id=order_id,
        item=item_id,
        customer=customer_id,
        sku=item.product.sku if item else "",
        units=0,
        price=money.text(item.price, item.currency) if item else "0",
        currency=item.currency if item else "",
        source="",
        seq=str(order_id),  # unique: a sender cannot use an empty source
        digest="",
        method="",
        at=to_us(admitted_at),
    )
    if item and get_user_model().objects.filter(pk=customer_id).exists():
        make_rows([(order, reason)], actor)
    else:
        bulk.insert(Intake, [{"id": order_id, "item_id": item_id, "payload": order.as_payload(), "reason": reason}])
