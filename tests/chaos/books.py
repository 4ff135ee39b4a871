"""Reads every book at a quiet moment: PostgreSQL, the gate, the broker, and what the provider wrote down itself."""

import time
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from django.db import connection, models, transaction
from django.db.models import Exists, OuterRef

from inventory.models import SaleItem, StockMovement, Terms
from orders.models import EffectBatch, GateEffect, Intake, Order, OrderEvent
from payments.models import Payment, Refund, SandboxCharge, SandboxRefund
from tasks.models import DeadLetter
from tasks.repair.audit import audit
from tests.chaos import redis_books, rows
from tests.chaos.rows import Books


def collect(
    slugs: Iterable[str],
    *,
    healed_at: float | None = None,
    settled_at: float | None = None,
    losses: Iterable[rows.Loss] = (),
    gone: Iterable[int] = (),
    poison: Iterable[str] = (),
) -> Books:
    """The books of these sales, PostgreSQL's in one snapshot.

    Args:
        slugs: the sales of the run.
        healed_at: when the last fault ended, in seconds since the epoch.
        settled_at: when the run saw the last order end.
        losses: of the gate's disk.
        gone: customers whose account was deleted before they ordered.
        poison: orders that were spoilt on their way.
    """
    wanted = list(slugs)
    books = Books(
        time.time(),
        healed_at=healed_at,
        settled_at=settled_at,
        losses=list(losses),
        gone=frozenset(gone),
        poison=frozenset(poison),
    )
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        items = list(SaleItem.objects.filter(sale__slug__in=wanted).values_list("pk", flat=True))
        _read_stock(books, items)
        _read_orders(books, items)
        _read_money(books, items)
    redis_books.read(books, items)
    books.audit = [
        f"{slug}: {check.name}: {breach}" for slug in wanted for check in audit(slug).checks for breach in check.breaches
    ]
    return books


def _read_stock(books: Books, items: list[int]) -> None:
    columns = ("pk", "product__sku", "price", "currency", "per_customer", "allocated", "available", "reserved", "sold")
    books.items = [rows.Item(*row) for row in SaleItem.objects.filter(pk__in=items).order_by("pk").values_list(*columns)]
    terms = Terms.objects.filter(item__in=items).values_list("item_id", "version", "price", "currency", "per_customer")
    books.terms = {(item, version): rows.Terms(*values) for item, version, *values in terms}
    lines = StockMovement.objects.filter(item__in=items).order_by("pk")
    books.movements = [
        rows.Movement(item, kind, units, order and str(order))
        for item, kind, units, order in lines.values_list("item_id", "kind", "units", "reservation_id").iterator()
    ]


def _read_orders(books: Books, items: list[int]) -> None:
    found = Order.objects.filter(item__in=items).order_by("pk")
    books.orders = [_order(row) for row in found.iterator()]
    events = OrderEvent.objects.filter(models.Q(order__item__in=items) | ~_has_order("order_id")).order_by("pk")
    books.events = [
        rows.Event(str(order), status, at.timestamp()) for order, status, at in events.values_list("order_id", "status", "at")
    ]
    books.intake = [_intake(row) for row in Intake.objects.filter(item_id__in=items)]
    batches = EffectBatch.objects.filter(item_id__in=items).values_list("order_ids", "item_id", "kind")
    books.effects = [rows.Effect(str(order), item, kind) for orders, item, kind in batches for order in orders]
    singles = GateEffect.objects.filter(item_id__in=items).values_list("order_id", "item_id", "kind")
    books.effects += [rows.Effect(str(order), item, kind) for order, item, kind in singles]
    letters = DeadLetter.objects.filter(resolved_at=None).order_by("pk").values_list("pk", "task", "args", "error")
    books.letters = [rows.Letter(pk, task, str(args), error) for pk, task, args, error in letters]


def _order(row: Order) -> rows.Order:
    return rows.Order(
        id=str(row.pk),
        item=row.item_id,
        customer=row.customer_id,
        sku=row.sku,
        units=row.quantity,
        price=row.unit_price,
        currency=row.currency,
        source=row.source,
        seq=row.seq,
        digest=row.digest,
        method=row.payment_method,
        status=row.status,
        reason=row.reason,
        expires_at=row.expires_at.timestamp(),
        terms=row.terms_version,
        limit=row.limit_version,
    )


def _intake(row: Intake) -> rows.Intake:
    said: dict[str, Any] = row.payload
    return rows.Intake(
        id=str(row.pk),
        item=row.item_id,
        customer=said["customer"],
        sku=said["sku"],
        units=said["units"],
        price=Decimal(said["price"]),
        currency=said["currency"],
        source=said["source"],
        seq=said["seq"],
        digest=said["digest"],
        method=said["method"],
        reason=row.reason,
    )


def _has_order(column: str) -> Exists:
    return Exists(Order.objects.filter(pk=OuterRef(column)))


def _read_money(books: Books, items: list[int]) -> None:
    """Payments of these sales and of no order at all; charges of these payments and of no payment at all."""
    ours = Exists(Order.objects.filter(pk=OuterRef("order_id"), item__in=items))
    payments = list(Payment.objects.filter(models.Q(ours) | ~_has_order("order_id")).order_by("pk"))
    books.payments = [
        rows.Payment(
            id=str(payment.pk),
            order=str(payment.order_id),
            amount=payment.amount,
            currency=payment.currency,
            method=payment.method,
            origin=payment.origin,
            key=payment.idempotency_key,
            status=payment.status,
            applied=payment.applied_at is not None,
        )
        for payment in payments
    ]
    refunds = Refund.objects.filter(payment__in=payments).values_list("payment_id", "amount", "status")
    books.refunds = [rows.Refund(str(payment), amount, status) for payment, amount, status in refunds]
    known = Exists(Payment.objects.filter(idempotency_key=OuterRef("idempotency_key")))
    keys = [payment.idempotency_key for payment in payments]
    charges = SandboxCharge.objects.filter(models.Q(idempotency_key__in=keys) | ~known).order_by("pk")
    columns = ("ref", "idempotency_key", "amount", "currency", "method", "outcome")
    books.charges = [rows.Charge(*row) for row in charges.values_list(*columns)]
    given_back = SandboxRefund.objects.filter(charge__in=charges).values_list("charge__idempotency_key", "amount")
    books.charge_refunds = [rows.ChargeRefund(key, amount) for key, amount in given_back]
