"""Changes to sales and stock. Functions that take orders are idempotent and run in the caller's transaction."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
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
    """The units of an order."""

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
        payment_window: unpaid orders are cancelled after this time.
            waiting_room_rate: customers called up per second; None for no waiting room.

        Raises:
            Invalid: a value is invalid, or the slug is taken.
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
    """Add a product to a sale with its first units. The product is created if it does not exist.

    Raises:
        Invalid: a value is invalid; nothing is written.
    """
    _require_amounts(price=price, list_price=list_price)
    if not 0 <= units <= MOST_UNITS:
        raise Invalid(f"units must be from 0 to {MOST_UNITS}.")
    product = Product(sku=sku, name=name)
    _checked(product.clean_fields)  # validate before the query: PostgreSQL rejects NUL characters
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
        ValueError: the time is outside the range for sales.
    """
    if not EARLIEST <= moment <= LATEST:
        raise ValueError(f"must be {REACH}")
    return moment.astimezone(UTC)


def _require_amounts(**amounts: Decimal | None) -> None:
    """Refuse NaN and infinity before a validator compares them, because comparing them raises."""
    wrong = [name for name, amount in amounts.items() if amount is not None and not amount.is_finite()]
    if wrong:
        raise Invalid(f"{', '.join(wrong)}: not a valid amount.", errors={name: ["Not a valid amount."] for name in wrong})


def _validated(row: Product | Sale | SaleItem) -> None:
    _checked(row.clean_fields)  # validate before the checks that query PostgreSQL, which rejects NUL characters
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
    """Add units, or remove them if negative. Not idempotent: each call is a decision of a person.

    Args:
        gate_version: the gate's version when it withheld the units. Returning the units to the gate increments the version.

    Raises:
        NotEnoughStock: fewer units are available than are to be removed.
        TermsChanged: the gate may have put the withheld units back on sale.
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
    """Set the state and return the ids of the sale's items, whose gates must be updated. An ended sale stays ended.

    Raises:
        UnknownSale: the sale does not exist.
        Ended: the sale has ended and cannot be opened or paused.
    """
    sales = Sale.objects.filter(slug=slug)
    alive = sales if state == Sale.State.ENDED else sales.exclude(state=Sale.State.ENDED).filter(closes_at__gt=now())
    if not alive.update(state=state):
        raise Ended(slug=slug) if sales.exists() else UnknownSale(slug=slug)
    return touch_gate(SaleItem.objects.filter(sale__slug=slug).values_list("pk", flat=True))


def touch_gate(items: Iterable[int]) -> list[int]:
    """Mark the gates of these items as outdated, so that they are updated."""
    found = list(items)
    SaleItem.objects.filter(pk__in=found).update(gate_version=F("gate_version") + 1)
    return found


def start_gates(items: Iterable[int], *, lost: Iterable[int]) -> None:
    """Prepare the rebuild of these items' gates. Terms that were read before are outdated from now on.

    Args:
        lost: items that had no gate. They start a new epoch: their new gate does not know orders of earlier epochs.
    """
    with transaction.atomic():
        rows = SaleItem.objects.filter(pk__in=list(items))
        list(rows.select_for_update(no_key=True).order_by("pk").values_list("pk", flat=True))
        rows.update(gate_version=F("gate_version") + 1)
        SaleItem.objects.filter(pk__in=list(lost)).update(gate_life=F("gate_life") + 1)


def lock_item(item_id: int) -> SaleItem:
    """Lock the item's row until the transaction ends.

    Raises:
        UnknownItem: the item does not exist.
    """
    item = SaleItem.objects.select_for_update(no_key=True).filter(pk=item_id).first()
    if item is None:
        raise UnknownItem(item=item_id)
    return item


def reserve_units(*, item_id: int, requests: Mapping[UUID, int]) -> frozenset[UUID]:
    """Reserve available units. One conditional UPDATE covers the whole batch; if units run short, the first orders get them.

    Args:
        requests: order id -> units, in order of admission.

    Returns:
        The orders that have or had a reservation. There were no units for the others.

    Raises:
        UnknownItem: the item does not exist.
        ConcurrentReservation: another transaction reserves the same orders; roll back and try again.
    """
    with connection.cursor() as cursor:
        cursor.execute(_RESERVE, _columns(item_id, requests))
        fresh, recorded, is_moved = cursor.fetchone()
    wanted = {order: requests[order] for order in fresh}
    if not wanted:
        return frozenset(requests)
    if is_moved:
        _require_all(item_id, wanted, recorded)
        return frozenset(requests)
    row = SaleItem.objects.select_for_update(no_key=True).filter(pk=item_id).values_list("available", flat=True).first()
    if row is None:
        raise UnknownItem(item=item_id)
    before = requests.keys() - wanted.keys()
    wanted, total = _prefix(wanted, row)
    if total and not _move(item_id, total):
        raise ConcurrentReservation(item=item_id)
    _require_all(item_id, wanted, _record(item_id, Kind.RESERVE, wanted))
    return frozenset(before | wanted.keys())


def _columns(item_id: int, requests: Mapping[UUID, int]) -> dict[str, Any]:
    return {"item": item_id, "orders": [str(order) for order in requests], "units": list(requests.values())}


def _require_all(item_id: int, wanted: Collection[UUID], recorded: Collection[UUID]) -> None:
    if len(recorded) != len(wanted):
        raise ConcurrentReservation(item=item_id)


_RESERVE = """
WITH fresh AS (
    SELECT * FROM unnest(%(orders)s::uuid[], %(units)s::int[]) AS wanted(id, units)
    WHERE NOT EXISTS (SELECT FROM inventory_stockmovement m WHERE m.reservation_id = wanted.id AND m.kind = 'reserve')
), moved AS (
    UPDATE inventory_saleitem i SET available = i.available - total.units, reserved = i.reserved + total.units
    FROM (SELECT sum(units)::int AS units FROM fresh) total WHERE i.id = %(item)s AND i.available >= total.units
    RETURNING i.id
), recorded AS (
    INSERT INTO inventory_stockmovement (item_id, kind, units, reservation_id, actor, reason)
    SELECT %(item)s, 'reserve', units, id, '', '' FROM fresh WHERE EXISTS (SELECT FROM moved)
    ON CONFLICT DO NOTHING RETURNING reservation_id
)
SELECT ARRAY(SELECT id FROM fresh), ARRAY(SELECT reservation_id FROM recorded), EXISTS (SELECT FROM moved)
"""


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
    """Order id -> reserved units. Orders without a reservation are left out."""
    rows = StockMovement.objects.filter(kind=Kind.RESERVE, reservation_id__in=list(orders))
    return {pk: units for pk, units in rows.values_list("reservation_id", "units") if pk is not None}


def sell_units(*, item_id: int, requests: Mapping[UUID, int]) -> frozenset[UUID]:
    """Move units from reserved to sold. Returns the orders that were changed. May run twice."""
    with connection.cursor() as cursor:
        cursor.execute(_SELL, _columns(item_id, requests))
        return frozenset(pk for (pk,) in cursor.fetchall())


_SELL = """
WITH recorded AS (
    INSERT INTO inventory_stockmovement (item_id, kind, units, reservation_id, actor, reason)
    SELECT %(item)s, 'sell', units, id, '', '' FROM unnest(%(orders)s::uuid[], %(units)s::int[]) AS wanted(id, units)
    ON CONFLICT DO NOTHING RETURNING reservation_id, units
), moved AS (
    UPDATE inventory_saleitem i SET reserved = i.reserved - total.units, sold = i.sold + total.units
    FROM (SELECT sum(units)::int AS units FROM recorded) total WHERE i.id = %(item)s AND total.units > 0
)
SELECT reservation_id FROM recorded
"""


def return_units(*, item_id: int, requests: Mapping[UUID, int]) -> frozenset[UUID]:
    """Move sold units back to available. Returns the orders that were changed. May run twice."""
    done = _record(item_id, Kind.RETURN, requests)
    units = sum(done.values())
    if units:
        SaleItem.objects.filter(pk=item_id).update(sold=F("sold") - units, available=F("available") + units)
    return frozenset(done)


def record_release(lines: Iterable[Line]) -> list[Line]:
    """Record that reserved units are released. Returns the lines that were new. May run twice.

    Call ``give_back`` with the result in the same transaction. Make other writes between the two calls, so that the items'
    rows are locked last.
    """
    return _record_lines(Kind.RELEASE, lines)


def give_back(released: Iterable[Line]) -> None:
    """Move units from reserved back to available. Call last in a transaction, because it locks the items' rows."""
    units: Counter[int] = Counter()
    for line in released:
        units[line.item] += line.units
    if units:
        with connection.cursor() as cursor:  # check the movements' foreign keys now, not at COMMIT under the lock
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    for item, back in sorted(units.items()):
        SaleItem.objects.filter(pk=item).update(reserved=F("reserved") - back, available=F("available") + back)
