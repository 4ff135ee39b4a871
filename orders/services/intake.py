"""Admitted orders reach the ledger: it takes them over, or writes them off."""

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
    """Reserve the units of admitted orders in the ledger and take the orders over from the stream. May run twice.

    An order for which the ledger has no units is taken over too, with that reason, and so is one whose price is not that of
    its terms, or that has more units than they allow: the gate is wrong, and is rebuilt. One that was written off stays so;
    its units go back. One that was admitted by a gate that is lost since makes the present gate be rebuilt, which knows
    nothing of it; once a gate was lost, the limit per customer is looked after here.

    Returns:
        The orders that are decided on. Of the others the terms are not known: nothing happened to them, try again.

    Raises:
        UnknownItem: no such item.
    """
    ids = [order.id for order in orders]
    item = inventory.lock_item(item_id)  # first: whoever decides on the same orders has decided, and is seen below
    known = holds.known_ids(ids)
    if known:
        outbox.tell(GateEffect.Kind.RELEASE, [(item_id, pk) for pk in holds.written_off(known)])
    fresh = [order for order in orders if order.id not in known]
    judged = terms.judge(item, fresh)
    if judged.unknown:
        logger.warning("terms not known", extra={"event": "terms_unknown", "item": item_id, "orders": len(judged.unknown)})
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
    """The record of an order that is refused for its price: what stands in the gate's line may be anything."""
    extra = {"event": PRICE_MISMATCH, "order_id": str(order.id), "item": item.pk, "version": order.terms_version}
    logger.error("price is not the item's", extra=extra | {"price": order.price[:32], "currency": order.currency[:8]})
    return replace(order, price=money.text(item.price, item.currency), currency=item.currency, terms_version=item.terms_version)


@transaction.atomic
def lose(order_id: UUID, customer_id: int, item_id: int, admitted_at: datetime) -> None:
    """Write down that an admitted order was lost before the ledger had it, unless the ledger knows it. May run twice.

    Whoever decides what becomes of an id without a row, here or in ``deduct``, holds the item's row.

    Raises:
        OrderNotFound: there is no such item.
    """
    try:
        inventory.lock_item(item_id)
    except UnknownItem as error:
        raise OrderNotFound from error
    if not holds.known_ids([order_id]):
        _write_off(order_id, customer_id, item_id, LOST, admitted_at=admitted_at)


@transaction.atomic
def reject(order_id: UUID, customer_id: int, item_id: int, *, admitted_at: datetime, actor: str = "") -> bool:
    """End an order that the ledger cannot take, wherever it stands: it is rejected, its units go back, and no copy of it that
    turns up later is taken over. May run twice, and at once with every other step.

    Args:
        customer_id: whose it is, unless the intake knows it; 0 when nobody knows.
        actor: the person who did it, for the history.

    Returns:
        Whether it is rejected as poisoned; if not it is an order like any other, and stays as it is.
    """
    waiting = Intake.objects.filter(pk=order_id)
    waiting.select_for_update().first()  # the intake before the item's row, as ``create`` does
    with suppress(UnknownItem):
        inventory.lock_item(item_id)
    taken = waiting.first()
    waiting.delete()
    kept = (
        Order.objects.filter(pk=order_id).values_list("status", "reason").first()
    )  # second: from the intake it moves to a row
    if kept is None:
        known = taken.payload.get("customer") if taken else None
        customer = known if isinstance(known, int) else customer_id
        reserved = inventory.reserved_units([order_id])
        inventory.give_back(inventory.record_release(inventory.Line(item_id, pk, units) for pk, units in reserved.items()))
        _write_off(order_id, customer, item_id, POISONED, admitted_at=admitted_at, actor=actor)
        outbox.tell(GateEffect.Kind.RELEASE, [(item_id, order_id)])
    return kept in (None, (OrderStatus.REJECTED, POISONED))


def _write_off(order_id: UUID, customer_id: int, item_id: int, reason: str, *, admitted_at: datetime, actor: str = "") -> None:
    """A rejected row of an order of which nothing is kept but whose and of what it was; where no row can be, in the intake."""
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
        seq=str(order_id),  # no sender can send an empty source
        digest="",
        method="",
        at=to_us(admitted_at),
    )
    if item and get_user_model().objects.filter(pk=customer_id).exists():
        make_rows([(order, reason)], actor)
    else:
        bulk.insert(Intake, [{"id": order_id, "item_id": item_id, "payload": order.as_payload(), "reason": reason}])
