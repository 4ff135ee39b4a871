"""Writes of sales and of the ledger. Every function of an order is idempotent and runs in its caller's transaction."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import F

from flashsale.core import bulk
from flashsale.core.clock import now
from flashsale.core.errors import Invalid
from inventory.errors import ConcurrentReservation, Ended, NotEnoughStock, TermsChanged, UnknownItem, UnknownSale
from inventory.models import EARLIEST, LATEST, MOST_UNITS, Product, Sale, SaleItem, StockMovement

Kind = StockMovement.Kind
REACH = f"from {EARLIEST:%Y} to the end of {LATEST.year - 1}, in UTC"


class Line(NamedTuple):
    """What an order's movement is about."""

    item: int
    order: UUID
    units: int


def create_sale(
    *,
    slug: str,
    name: str,
    opens_at: datetime,
    closes_at: datetime,
    payment_window: timedelta,
    waiting_room_rate: int | None = None,
) -> Sale:
    """
    Args:
        waiting_room_rate: customers per second that are called up; None for no waiting room.

    Raises:
        Invalid: the values break a rule of the model, or the slug is taken.
    """
    sale = Sale(
        slug=slug,
        name=name,
        opens_at=opens_at,
        closes_at=closes_at,
        payment_window=payment_window,
        waiting_room_rate=waiting_room_rate,
    )
    _validated(sale)
    sale.save()
    return sale


@transaction.atomic
def add_item(
    *,
    sale: Sale,
    sku: str,
    name: str,
    units: int,
    price: Decimal,
    currency: str = "EUR",
    list_price: Decimal | None = None,
    per_customer: int = 1,
    actor: str = "",
) -> SaleItem:
    """Put a product, made when it is new, into a sale with its first units.

    Raises:
        Invalid: the values break a rule of the model; nothing is written.
    """
    _require_amounts(price=price, list_price=list_price)
    if not 0 <= units <= MOST_UNITS:
        raise Invalid(f"An item has 0 to {MOST_UNITS} units.")
    product = Product(sku=sku, name=name)
    _checked(product.clean_fields)  # before it is looked for: PostgreSQL is asked for no NUL
    product = Product.objects.filter(sku=sku).first() or product
    _validated(product)
    product.save()
    item = SaleItem(
        sale=sale, product=product, price=price, currency=currency, list_price=list_price, per_customer=per_customer
    )
    _validated(item)
    item.save()
    if units:
        allocate(item_id=item.pk, units=units, actor=actor)
    item.refresh_from_db()
    return item


def within_reach(moment: datetime) -> datetime:
    """The same moment in UTC.

    Raises:
        ValueError: no time that a sale may have.
    """
    if not EARLIEST <= moment <= LATEST:
        raise ValueError(f"a sale's times are {REACH}")
    return moment.astimezone(UTC)


def _require_amounts(**amounts: Decimal | None) -> None:
    """NaN and infinity compare with nothing: they are refused before a validator compares them."""
    wrong = [name for name, amount in amounts.items() if amount is not None and not amount.is_finite()]
    if wrong:
        raise Invalid(f"{', '.join(wrong)}: not an amount of money.", errors={name: ["Not an amount."] for name in wrong})


def _validated(row: Product | Sale | SaleItem) -> None:
    _checked(row.clean_fields)  # before the checks that ask PostgreSQL: it takes no NUL
    _checked(row.full_clean)


def _checked(check: Callable[[], None]) -> None:
    try:
        check()
    except ValidationError as error:
        raise Invalid("; ".join(error.messages), errors=getattr(error, "message_dict", {})) from error


@transaction.atomic
def allocate(*, item_id: int, units: int, actor: str) -> None:
    """The first units of an item."""
    StockMovement.objects.create(item_id=item_id, kind=Kind.ALLOCATE, units=units, actor=actor)
    SaleItem.objects.filter(pk=item_id).update(
        allocated=F("allocated") + units, available=F("available") + units, gate_version=F("gate_version") + 1
    )


@transaction.atomic
def adjust_stock(*, item_id: int, units: int, actor: str, reason: str, gate_version: int | None = None) -> None:
    """Add units (or take them away, when negative). Not idempotent: a person decides each one.

    Args:
        gate_version: the version of the terms under which the gate gave the units up; whoever puts them back raises it.

    Raises:
        NotEnoughStock: fewer units available than to be taken away.
        TermsChanged: the gate may have the units again.
    """
    item = lock_item(item_id)
    if item.available < -units:
        raise NotEnoughStock(item=item_id)
    if units < 0 and gate_version not in (None, item.gate_version):
        raise TermsChanged(item=item_id, retry_after=1)
    SaleItem.objects.filter(pk=item_id).update(
        allocated=F("allocated") + units, available=F("available") + units, gate_version=F("gate_version") + 1
    )
    StockMovement.objects.create(item_id=item_id, kind=Kind.ADJUST, units=units, actor=actor, reason=reason)


@transaction.atomic
def set_sale_state(*, slug: str, state: Sale.State) -> list[int]:
    """Returns the sale's items, whose gates must be told. What has ended, by staff or by its time, stays ended.

    Raises:
        UnknownSale: no such sale.
        Ended: it is over, and was to be opened or paused.
    """
    sales = Sale.objects.filter(slug=slug)
    alive = sales if state == Sale.State.ENDED else sales.exclude(state=Sale.State.ENDED).filter(closes_at__gt=now())
    if not alive.update(state=state):
        raise Ended(slug=slug) if sales.exists() else UnknownSale(slug=slug)
    return touch_gate(SaleItem.objects.filter(sale__slug=slug).values_list("pk", flat=True))


def touch_gate(items: Iterable[int]) -> list[int]:
    """Note that the gate must learn new terms of these items."""
    found = list(items)
    SaleItem.objects.filter(pk__in=found).update(gate_version=F("gate_version") + 1)
    return found


def start_gates(items: Iterable[int], *, lost: Iterable[int]) -> None:
    """Gates of these items are about to be made anew; nothing that was read of their terms before holds any more.

    Args:
        lost: those of which there was none: a new life begins, orders admitted in an earlier one are unknown to it.
    """
    with transaction.atomic():
        rows = SaleItem.objects.filter(pk__in=list(items))
        list(rows.select_for_update(no_key=True).order_by("pk").values_list("pk", flat=True))
        rows.update(gate_version=F("gate_version") + 1)
        SaleItem.objects.filter(pk__in=list(lost)).update(gate_life=F("gate_life") + 1)


def lock_item(item_id: int) -> SaleItem:
    """The item's row, ours until the transaction ends.

    Raises:
        UnknownItem: no such item.
    """
    item = SaleItem.objects.select_for_update(no_key=True).filter(pk=item_id).first()
    if item is None:
        raise UnknownItem(item=item_id)
    return item


def reserve_units(*, item_id: int, requests: Mapping[UUID, int]) -> frozenset[UUID]:
    """Move units from available to reserved: for the whole batch by one conditional UPDATE, else for the prefix that fits.

    Args:
        requests: order id -> units, in the order of admission.

    Returns:
        The orders that hold a reservation now or held one before; there were no units for the rest.

    Raises:
        UnknownItem: no such item.
        ConcurrentReservation: the same orders are being reserved elsewhere; roll back and try again.
    """
    rows = StockMovement.objects.filter(kind=Kind.RESERVE, reservation_id__in=list(requests))
    before = frozenset(pk for pk in rows.values_list("reservation_id", flat=True) if pk is not None)
    wanted = {order: units for order, units in requests.items() if order not in before}
    if not wanted:
        return before
    total = sum(wanted.values())
    if not _move(item_id, total):
        row = SaleItem.objects.select_for_update(no_key=True).filter(pk=item_id).values_list("available", flat=True).first()
        if row is None:
            raise UnknownItem(item=item_id)
        wanted, total = _prefix(wanted, row)
        if total and not _move(item_id, total):
            raise ConcurrentReservation(item=item_id)
    inserted = _record(item_id, Kind.RESERVE, wanted)
    if len(inserted) != len(wanted):
        raise ConcurrentReservation(item=item_id)
    return before | wanted.keys()


def _move(item_id: int, units: int) -> int:
    return SaleItem.objects.filter(pk=item_id, available__gte=units).update(
        available=F("available") - units, reserved=F("reserved") + units
    )


def _prefix(wanted: Mapping[UUID, int], available: int) -> tuple[dict[UUID, int], int]:
    fitting: dict[UUID, int] = {}
    total = 0
    for order, units in wanted.items():
        if total + units <= available:
            fitting[order] = units
            total += units
    return fitting, total


def _record(item_id: int, kind: str, requests: Mapping[UUID, int]) -> dict[UUID, int]:
    lines = _record_lines(kind, [Line(item_id, order, units) for order, units in requests.items()])
    return {line.order: line.units for line in lines}


def _record_lines(kind: str, lines: Iterable[Line]) -> list[Line]:
    rows = [
        {"item_id": line.item, "kind": kind, "units": line.units, "reservation_id": line.order, "actor": "", "reason": ""}
        for line in lines
    ]
    return [Line(*row) for row in bulk.insert(StockMovement, rows, returning=("item_id", "reservation_id", "units"))]


def reserved_units(orders: Iterable[UUID]) -> dict[UUID, int]:
    """order id -> the units that were reserved for it, for those for which there were any."""
    rows = StockMovement.objects.filter(kind=Kind.RESERVE, reservation_id__in=list(orders))
    return {pk: units for pk, units in rows.values_list("reservation_id", "units") if pk is not None}


def sell_units(*, item_id: int, requests: Mapping[UUID, int]) -> frozenset[UUID]:
    """Move units from reserved to sold; returns the orders for which that was new."""
    done = _record(item_id, Kind.SELL, requests)
    units = sum(done.values())
    if units:
        SaleItem.objects.filter(pk=item_id).update(reserved=F("reserved") - units, sold=F("sold") + units)
    return frozenset(done)


def return_units(*, item_id: int, requests: Mapping[UUID, int]) -> frozenset[UUID]:
    """Move sold units back to available; returns the orders for which that was new. May run twice."""
    done = _record(item_id, Kind.RETURN, requests)
    units = sum(done.values())
    if units:
        SaleItem.objects.filter(pk=item_id).update(sold=F("sold") - units, available=F("available") + units)
    return frozenset(done)


def record_release(lines: Iterable[Line]) -> list[Line]:
    """Write down that reserved units go back; the lines for which that is new. ``give_back`` of these has to follow in the
    same transaction: what else there is to write comes between the two, before the rows of the items are locked.
    """
    return _record_lines(Kind.RELEASE, lines)


def give_back(released: Iterable[Line]) -> None:
    """Move units from reserved back to available, as the last thing in a transaction: the rows of the items, which all others
    wait for, stay locked until its end.
    """
    units: Counter[int] = Counter()
    for line in released:
        units[line.item] += line.units
    if units:
        with connection.cursor() as cursor:  # the movements' foreign keys are checked now, not under the lock at COMMIT
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    for item, back in sorted(units.items()):
        SaleItem.objects.filter(pk=item).update(reserved=F("reserved") - back, available=F("available") + back)
