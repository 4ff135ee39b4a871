"""Create order rows from the intake."""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db import DataError, IntegrityError, connection, transaction

from flashsale.core import bulk
from flashsale.core.clock import from_us, now
from inventory import services as inventory
from inventory.admission.admitted import AdmittedOrder, read
from inventory.models import LARGEST_AMOUNT
from inventory.selectors import payment_windows
from orders.models import WRITTEN_OFF, GateEffect, Intake, Order
from orders.services import outbox, units
from orders.services.evidence import can_never_fit
from orders.states import OrderStatus

_SEQ_TAKEN = "seq_taken"
_ONCE = "ON CONFLICT (source, seq) DO NOTHING"
_CHECK_NOW = "SET CONSTRAINTS ALL IMMEDIATE; "  # reports an unknown customer in the statement, not at COMMIT
_OURS = (
    LookupError,
    TypeError,
    ValueError,
    ArithmeticError,
    AttributeError,
)  # errors of our own code: no evidence against the order
_LONGEST_PAUSE_S = 600


class _Unread(Exception):
    """These intake orders are in a format that this release cannot read."""

    def __init__(self, ids: Iterable[UUID]) -> None:
        super().__init__()
        self.ids = list(ids)


@dataclass(frozen=True, slots=True)
class Created:
    """Result of ``create`` by order id.

    ``poisoned``: order id -> reason; no row could be created, the order stays in the intake.
    ``hopeless``: the poisoned orders that can never become a row.
    ``healed``: orders that failed before and are rows now.
    ``unread``: orders in the format of another release; they stay in the intake.
    """

    ids: list[UUID]
    poisoned: dict[UUID, Exception]
    healed: list[UUID]
    hopeless: frozenset[UUID] = frozenset()
    unread: list[UUID] = field(default_factory=list)

    def __add__(self, other: "Created") -> "Created":
        return Created(
            self.ids + other.ids,
            self.poisoned | other.poisoned,
            self.healed + other.healed,
            self.hopeless | other.hopeless,
            self.unread + other.unread,
        )


def create(order_ids: Iterable[UUID]) -> Created:
    """Create rows for these intake orders. A failing order does not block the others. May run twice."""
    ids = list(order_ids)
    try:
        healed = _create(ids)
    except _Unread as left:
        return create(pk for pk in ids if pk not in left.ids) + Created([], {}, [], unread=left.ids)
    except (IntegrityError, DataError, *_OURS) as error:
        if len(ids) == 1:
            return Created([], {ids[0]: error}, [], hopeless=_hopeless(ids[0], error))
        half = len(ids) // 2
        return create(ids[:half]) + create(ids[half:])
    return Created(ids, {}, healed)


def _hopeless(order_id: UUID, error: Exception) -> frozenset[UUID]:
    order = read(Intake.objects.filter(pk=order_id).values_list("payload", flat=True).first())
    return frozenset([order_id] if order is not None and can_never_fit(error, order) else [])


@transaction.atomic
def _create(ids: Sequence[UUID]) -> list[UUID]:
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM orders_intake WHERE id = ANY(%s::uuid[]) AND reason <> ALL(%s) "
            "RETURNING id, payload, reason, failures",
            [[str(pk) for pk in ids], list(WRITTEN_OFF)],
        )
        rows = cursor.fetchall()
    found = []
    unread = []
    for pk, payload, reason, failures in rows:
        order = read(payload if isinstance(payload, dict) else json.loads(payload))
        if order is None:
            unread.append(pk)
        else:
            found.append((order, reason, failures))
    if unread:
        raise _Unread(unread)  # rolls the deletion back
    if found:
        make_rows([(order, reason) for order, reason, _ in found])
    return [order.id for order, _, failures in found if failures]


def make_rows(taken: Sequence[tuple[AdmittedOrder, str]], actor: str = "") -> None:
    """Insert rows and history for (order, rejection reason) pairs. An order whose (source, seq) is taken is rejected."""
    windows = payment_windows({order.item for order, _ in taken})
    moment = now()
    rows = {order.id: _row(order, reason, moment + windows[order.item]) for order, reason in taken}
    for order, _ in taken:
        rows[order.id]["steps"] = _steps(order, rows[order.id], moment, actor)
    made = {pk for (pk,) in bulk.insert(Order, list(rows.values()), on_conflict=_ONCE, before=_CHECK_NOW)}
    clashed = [order for order, _ in taken if order.id not in made]
    for order in clashed:
        rows[order.id] |= {"seq": f"{order.seq}~{order.id}", "status": OrderStatus.REJECTED, "reason": _SEQ_TAKEN}
        rows[order.id]["steps"] = _steps(order, rows[order.id], moment, actor)
    bulk.insert(Order, [rows[order.id] for order in clashed], on_conflict="")
    had_units = {order.id for order, reason in taken if not reason}
    units.release(inventory.Line(order.item, order.id, order.units) for order in clashed if order.id in had_units)
    # The gate admitted more units than exist. Rebuild it from PostgreSQL.
    refused = [order for order, reason in taken if reason and reason not in WRITTEN_OFF]
    outbox.tell(GateEffect.Kind.REBUILD, [(order.item, order.id) for order in refused])


def _row(order: AdmittedOrder, reason: str, expires_at: object) -> dict[str, object]:
    _require_amount(order)
    return {
        "id": order.id,
        "customer_id": order.customer,
        "item_id": order.item,
        "sku": order.sku,
        "quantity": order.units,
        "unit_price": Decimal(order.price),
        "currency": order.currency,
        "terms_version": order.terms_version or None,
        "limit_version": order.limit_version or None,
        "source": order.source,
        "seq": order.seq,
        "digest": order.digest,
        "payment_method": order.method,
        "status": OrderStatus.REJECTED if reason else OrderStatus.RESERVED,
        "reason": reason,
        "admitted_at": from_us(order.at),
        "expires_at": expires_at,
    }


def _require_amount(order: AdmittedOrder) -> None:
    """Let PostgreSQL check that the total fits a payment's amount column. A total that does not fit would fail its whole batch.

    Raises:
        DataError: the total is not a number or is too large.
    """
    with suppress(ArithmeticError):
        if Decimal(order.price) * order.units <= LARGEST_AMOUNT:
            return
    column = Order._meta.get_field("unit_price").db_type(connection)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT (%s::numeric * %s)::{column}", [order.price, order.units])
    raise ValueError("not an amount of money")


def _steps(order: AdmittedOrder, row: Mapping[str, object], moment: datetime, actor: str) -> list[dict[str, object]]:
    return [
        {"status": OrderStatus.QUEUED, "reason": "", "actor": "", "at": from_us(order.at)},
        {"status": row["status"], "reason": row["reason"], "actor": actor, "at": moment},
    ]


def put_off(order_id: UUID, *, at_most_s: int = _LONGEST_PAUSE_S) -> bool:
    """Delay the next attempt of the sweeps to create this order: 6 s, doubled on each failure, up to ``at_most_s`` seconds.

    Returns:
        Whether the order still waits in the intake.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE orders_intake SET failures = least(failures + 1, 1000), "
            "retry_at = now() + make_interval(secs => least(3 * 2 ^ least(failures + 1, 10), %s)) "
            "WHERE id = %s AND reason <> ALL(%s)",
            [at_most_s, str(order_id), list(WRITTEN_OFF)],
        )
        return bool(cursor.rowcount)


def leave_unread(order_ids: Iterable[UUID]) -> dict[UUID, int]:
    """Leave intake orders for a release that can read them. Retried at once, then after 1, 2, 3, 3, ... seconds.

    Orders that have not failed yet come first, so these do not block them.

    Returns:
        Order id -> number of times the order was left.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE orders_intake SET failures = least(failures + 1, 1000), "
            "retry_at = now() + make_interval(secs => least(failures, 3)) "
            "WHERE id = ANY(%s::uuid[]) AND reason <> ALL(%s) RETURNING id, failures",
            [[str(pk) for pk in order_ids], list(WRITTEN_OFF)],
        )
        return dict(cursor.fetchall())


def stale_intake(limit: int) -> list[UUID]:
    """Intake orders older than 3 seconds that are due for an attempt, in order of admission.

    Orders that failed before come last, so that they never block orders that can be created.
    """
    rows = Intake.objects.exclude(reason__in=WRITTEN_OFF).extra(
        where=["created_at < now() - interval '3 seconds'", "(retry_at IS NULL OR retry_at <= now())"]
    )
    rows = rows.order_by("failures", "created_at", "pk")
    return list(rows.values_list("pk", flat=True)[:limit])
