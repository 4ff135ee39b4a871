"""What happens to orders: one transaction a step, every step idempotent, set-based.

Lock order everywhere: orders by id, then payments, then the item's row.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import DataError, IntegrityError, connection, transaction

from flashsale.core import bulk
from flashsale.core.clock import from_us, now, to_us
from flashsale.core.errors import Invalid
from inventory import services as inventory
from inventory.admission.admitted import AdmittedOrder
from inventory.errors import UnknownItem
from inventory.models import SaleItem
from orders.errors import NotCancellable, NotPayable, OrderNotFound
from orders.holds import known_ids, units_of, written_off
from orders.models import LOST, POISONED, WRITTEN_OFF, GateEffect, Intake, Order, OrderEvent
from orders.states import OrderStatus
from orders.transitions import Moved, advance, expire
from payments import services as payments
from payments.models import Payment

_SOLD_OUT, _SEQ_TAKEN, _LIMIT = "sold_out", "seq_taken", "limit_per_customer"


@transaction.atomic
def deduct(item_id: int, orders: Sequence[AdmittedOrder]) -> list[UUID]:
    """Reserve the units of admitted orders in the ledger and take the orders over from the stream. May run twice.

    An order for which the ledger has no units is taken over too, with that reason. One that was written off stays so; its
    units go back. One that was admitted by a gate that is lost since makes the present gate be rebuilt, which knows
    nothing of it; once a gate was lost, the limit per customer is looked after here.

    Raises:
        UnknownItem: no such item.
    """
    ids = [order.id for order in orders]
    item = inventory.lock_item(item_id)  # first: whoever decides on the same orders has decided, and is seen below
    known = known_ids(ids)
    fresh = [order for order in orders if order.id not in known]
    if known:
        _effects(GateEffect.Kind.RELEASE, [(item_id, pk) for pk in written_off(known)])
    over = _over_limit(item, fresh) if item.gate_life > 1 else set()
    requests = {order.id: order.units for order in fresh if order.id not in over}
    reserved = inventory.reserve_units(item_id=item_id, requests=requests)
    refused = {order.id: _LIMIT if order.id in over else _SOLD_OUT for order in fresh if order.id not in reserved}
    rows = [
        {"id": order.id, "item_id": item_id, "payload": order.as_payload(), "reason": refused.get(order.id, "")}
        for order in fresh
    ]
    bulk.insert(Intake, rows)
    _effects(GateEffect.Kind.REBUILD, [(item_id, order.id) for order in fresh if order.life != item.gate_life])
    return ids


def _over_limit(item: SaleItem, orders: Sequence[AdmittedOrder]) -> set[UUID]:
    """Those of these orders that are too many for their customers: a gate that was lost has forgotten what they had."""
    units = units_of(item.pk, {order.customer for order in orders})
    over = set()
    for order in orders:
        if units[order.customer] + order.units > item.per_customer:
            over.add(order.id)
        else:
            units[order.customer] += order.units
    return over


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
    if not known_ids([order_id]):
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
        _effects(GateEffect.Kind.RELEASE, [(item_id, order_id)])
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
        price=str(item.price if item else 0),
        currency=item.currency if item else "",
        source="",
        seq=str(order_id),  # no sender can send an empty source
        digest="",
        method="",
        at=to_us(admitted_at),
    )
    if item and get_user_model().objects.filter(pk=customer_id).exists():
        _make_rows([(order, reason)], actor)
    else:
        bulk.insert(Intake, [{"id": order_id, "item_id": item_id, "payload": order.as_payload(), "reason": reason}])


@dataclass(frozen=True, slots=True)
class Created:
    """``poisoned``: order id -> why it cannot be a row; it stays in the intake."""

    ids: list[UUID]
    poisoned: dict[UUID, Exception]


def create(order_ids: Iterable[UUID]) -> Created:
    """Make rows of the orders in the intake. An order that cannot be one does not keep the others back. May run twice."""
    ids = list(order_ids)
    try:
        _create(ids)
    except (IntegrityError, DataError, ValueError, ArithmeticError, KeyError) as error:
        if len(ids) == 1:
            return Created([], {ids[0]: error})
        half = len(ids) // 2
        first, second = create(ids[:half]), create(ids[half:])
        return Created(first.ids + second.ids, first.poisoned | second.poisoned)
    return Created(ids, {})


@transaction.atomic
def _create(ids: Sequence[UUID]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM orders_intake WHERE id = ANY(%s::uuid[]) AND reason <> ALL(%s) RETURNING payload, reason",
            [[str(pk) for pk in ids], list(WRITTEN_OFF)],
        )
        taken = [
            (AdmittedOrder.from_payload(payload if isinstance(payload, dict) else json.loads(payload)), reason)
            for payload, reason in cursor.fetchall()
        ]
    if taken:
        _make_rows(taken)


def _make_rows(taken: Sequence[tuple[AdmittedOrder, str]], actor: str = "") -> None:
    windows = dict(SaleItem.objects.filter(pk__in={order.item for order, _ in taken}).values_list("pk", "sale__payment_window"))
    moment = now()
    rows = {order.id: _row(order, reason, moment + windows[order.item]) for order, reason in taken}
    made = {pk for (pk,) in bulk.insert(Order, list(rows.values()), on_conflict="ON CONFLICT (source, seq) DO NOTHING")}
    clashed = [order for order, _ in taken if order.id not in made]
    for order in clashed:
        rows[order.id] |= {"seq": f"{order.seq}~{order.id}", "status": OrderStatus.REJECTED, "reason": _SEQ_TAKEN}
    bulk.insert(Order, [rows[order.id] for order in clashed], on_conflict="")
    had_units = {order.id for order, reason in taken if not reason}
    _release(inventory.Line(order.item, order.id, order.units) for order in clashed if order.id in had_units)
    # A gate that admitted more than there was is wrong: only the ledger knows by how much.
    refused = [order for order, reason in taken if reason and reason not in WRITTEN_OFF]
    _effects(GateEffect.Kind.REBUILD, [(order.item, order.id) for order in refused])
    queued = [_event(order.id, OrderStatus.QUEUED, "", at=from_us(order.at)) for order, _ in taken]
    decided = [_event(pk, row["status"], row["reason"], at=moment, actor=actor) for pk, row in rows.items()]
    bulk.insert(OrderEvent, queued + decided)
    with connection.cursor() as cursor:  # an unknown customer shows here, not at COMMIT
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def _row(order: AdmittedOrder, reason: str, expires_at: object) -> dict[str, object]:
    return {
        "id": order.id,
        "customer_id": order.customer,
        "item_id": order.item,
        "sku": order.sku,
        "quantity": order.units,
        "unit_price": Decimal(order.price),
        "currency": order.currency,
        "source": order.source,
        "seq": order.seq,
        "digest": order.digest,
        "payment_method": order.method,
        "status": OrderStatus.REJECTED if reason else OrderStatus.RESERVED,
        "reason": reason,
        "admitted_at": from_us(order.at),
        "expires_at": expires_at,
    }


def _event(order_id: UUID, status: object, reason: object, *, at: object, actor: str = "") -> dict[str, object]:
    return {"order_id": order_id, "status": status, "reason": reason, "actor": actor, "at": at}


def _effects(kind: str, pairs: Iterable[tuple[int, UUID]]) -> None:
    bulk.insert(GateEffect, [{"item_id": item, "order_id": order, "kind": kind} for item, order in pairs])


def _by_item(lines: Iterable[tuple[int, UUID, int]]) -> dict[int, dict[UUID, int]]:
    grouped: dict[int, dict[UUID, int]] = defaultdict(dict)
    for item, order, units in lines:
        grouped[item][order] = units
    return dict(sorted(grouped.items()))


def _release(lines: Iterable[inventory.Line]) -> None:
    released = inventory.record_release(lines)
    _effects(GateEffect.Kind.RELEASE, [(line.item, line.order) for line in released])
    inventory.give_back(released)


def _sell(lines: Iterable[tuple[int, UUID, int]]) -> None:
    for item, requests in _by_item(lines).items():
        done = inventory.sell_units(item_id=item, requests=requests)
        _effects(GateEffect.Kind.SETTLE, [(item, order) for order in done])


def request_payments(order_ids: Iterable[UUID]) -> list[UUID]:
    """Ask for the money of reserved orders; returns the payments still open for these orders. May run twice."""
    ids = list(order_ids)
    with transaction.atomic():
        ready = advance(ids, OrderStatus.PENDING_PAYMENT)
        paying = [order for order in ready if payments.known_method(order.payment_method)]
        payments.open_payments([_payment(order, order.payment_method) for order in paying], Payment.Origin.CHAIN)
    return list(Payment.objects.filter(order_id__in=ids, status__in=payments.OPEN).values_list("pk", flat=True))


def _payment(order: Moved, method: str) -> payments.PaymentRequest:
    return payments.PaymentRequest(order.id, order.customer, order.total, order.currency, method)


@transaction.atomic
def apply_answers(answers: Sequence[payments.Answer]) -> None:
    """Record what the provider said, and let the orders learn of it. May run twice.

    Money for an order that is no longer waiting for it goes back; a payment that failed leaves the order waiting.
    """
    paid = advance((a.order_id for a in answers if a.status == payments.Status.SUCCEEDED), OrderStatus.PAID)
    _sell((order.item, order.id, order.quantity) for order in paid)
    captured = payments.record(answers, applied=True)
    for_nothing = captured.keys() - {order.id for order in paid}
    payments.request_refund([captured[order] for order in for_nothing], "order_not_waiting")


def _mine(order_id: UUID, customer_id: int) -> Order:
    order = Order.objects.select_for_update().filter(pk=order_id, customer_id=customer_id).first()
    if order is None:
        raise OrderNotFound
    return order


@transaction.atomic
def pay(order_id: UUID, customer_id: int, method: str) -> UUID | None:
    """Open a payment by the customer; None when there is one already, so a repetition is harmless.

    Raises:
        OrderNotFound, NotPayable: nothing happened.
        Invalid: unknown method.
    """
    if not payments.known_method(method):
        raise Invalid(errors={"payment_method": ["Unknown payment method."]})
    order = _mine(order_id, customer_id)
    if order.status == OrderStatus.PENDING_PAYMENT and order.expires_at > now():
        total = order.unit_price * order.quantity
        request = payments.PaymentRequest(order.pk, customer_id, total, order.currency, method)
        return next(iter(payments.open_payments([request], Payment.Origin.CUSTOMER)), None)
    repeated = Payment.objects.filter(
        order_id=order_id, status=payments.Status.SUCCEEDED, origin=Payment.Origin.CUSTOMER, method=method
    )
    if order.status == OrderStatus.PAID and repeated.exists():
        return None
    raise NotPayable


def _cancel(order_id: UUID, *, reason: str, actor: str = "") -> bool:
    cancelled = advance([order_id], OrderStatus.CANCELLED, reason=reason, actor=actor)
    _release(inventory.Line(order.item, order.id, order.quantity) for order in cancelled)
    return bool(cancelled)


@transaction.atomic
def cancel(order_id: UUID, customer_id: int) -> None:
    """Cancel an order that is not paid. May run twice.

    Raises:
        OrderNotFound, NotCancellable: nothing happened.
    """
    order = _mine(order_id, customer_id)
    if order.status != OrderStatus.CANCELLED and not _cancel(order_id, reason="by_customer"):
        raise NotCancellable


@transaction.atomic
def cancel_unpaid(limit: int) -> int:
    """Cancel up to ``limit`` orders whose payment is overdue, the longest overdue first; how many there were.

    May run twice and at once: what somebody else is at is left to them.
    """
    cancelled = expire(limit)
    _release(inventory.Line(order.item, order.id, order.quantity) for order in cancelled)
    return len(cancelled)


@transaction.atomic
def cancel_by_staff(order_id: UUID, actor: str) -> None:
    """
    Raises:
        NotCancellable: it is paid or over.
    """
    if not _cancel(order_id, reason="by_staff", actor=actor):
        raise NotCancellable


@transaction.atomic
def refund_by_staff(order_id: UUID, actor: str) -> None:
    """Give the money of a paid order back; the units stay sold.

    Raises:
        NotCancellable: it is not paid.
    """
    if not advance([order_id], OrderStatus.REFUNDED, reason="by_staff", actor=actor):
        raise NotCancellable("Only a paid order can be refunded.")
    payments.request_refund(payments.captured_of(order_id), "by_staff")


def lock_effects(limit: int, but_not_of: Iterable[int] = ()) -> Mapping[tuple[int, str], list[tuple[int, UUID]]]:
    """What the gate has to be told, oldest first: (item, kind) -> effect id and order id.

    The rows are the caller's until its transaction ends; what others have locked is left out.

    Args:
        but_not_of: items whose effects stay where they are.
    """
    grouped: dict[tuple[int, str], list[tuple[int, UUID]]] = defaultdict(list)
    rows = GateEffect.objects.exclude(item_id__in=list(but_not_of)).select_for_update(skip_locked=True).order_by("pk")
    for item, kind, pk, order_id in rows.values_list("item_id", "kind", "pk", "order_id")[:limit]:
        grouped[item, kind].append((pk, order_id))
    return grouped


def forget_effects(ids: Iterable[int]) -> None:
    """The gate knows."""
    GateEffect.objects.filter(pk__in=list(ids)).delete()


def put_off(order_id: UUID) -> bool:
    """Let the sweeps wait before they try again to make a row of this order: 6 s, twice as long each time, 10 minutes at most.

    Returns:
        Whether the order is still to become a row.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE orders_intake SET failures = least(failures + 1, 1000), "
            "retry_at = now() + least(interval '3 seconds' * 2 ^ least(failures + 1, 10), interval '10 minutes') "
            "WHERE id = %s AND reason <> ALL(%s)",
            [str(order_id), list(WRITTEN_OFF)],
        )
        return bool(cursor.rowcount)


def stale_intake(limit: int) -> list[UUID]:
    """Orders that should have become rows some seconds ago, in the order of their admission; those that have failed come last,
    and at their time, so that however many cannot be helped, they keep none back that can.
    """
    rows = Intake.objects.exclude(reason__in=WRITTEN_OFF).extra(
        where=["created_at < now() - interval '3 seconds'", "(retry_at IS NULL OR retry_at <= now())"]
    )
    rows = rows.order_by("failures", "created_at", "pk")
    return list(rows.values_list("pk", flat=True)[:limit])


def stale_reserved(limit: int) -> list[UUID]:
    """Orders whose payment should have been asked for some seconds ago."""
    rows = Order.objects.filter(status=OrderStatus.RESERVED).extra(where=["updated_at < now() - interval '3 seconds'"])
    return list(rows.values_list("pk", flat=True)[:limit])
