"""Read queries for sales, items and stock movements."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import connection
from django.db.models import Case, F, IntegerField, Q, QuerySet, Sum, Value, When
from django.db.models.functions import Coalesce

from flashsale.core import money
from flashsale.core.clock import now, to_us
from inventory.admission.admitted import ItemTerms
from inventory.models import Sale, SaleItem, StockMovement

_RETIRING = timedelta(days=30)  # how long Celery beat may be down without leaving gates behind


class Stock(NamedTuple):
    """The stock columns of an item."""

    available: int
    reserved: int
    sold: int


def public_state(state: str, opens_at: datetime, closes_at: datetime, moment: datetime) -> str:
    """The state shown to customers at ``moment``: scheduled, live, paused or ended."""
    if state == Sale.State.ENDED or moment >= closes_at:
        return "ended"
    if state == Sale.State.PAUSED:
        return "paused"
    return "live" if moment >= opens_at else "scheduled"


def terms(items: Iterable[int]) -> list[ItemTerms]:
    """The current terms of these items, for the gate."""
    return [
        ItemTerms(
            item=item.pk,
            version=item.gate_version,
            terms_version=item.terms_version,
            sku=item.product.sku,
            price=money.text(item.price, item.currency),
            currency=item.currency,
            per_customer=item.per_customer,
            state=item.sale.state,  # type: ignore[arg-type]
            opens_at_us=to_us(item.sale.opens_at),
            closes_at_us=to_us(item.sale.closes_at),
            allocated=item.allocated,
            life=item.gate_life,
            pace_us=1_000_000 // item.sale.waiting_room_rate if item.sale.waiting_room_rate else 0,
        )
        for item in SaleItem.objects.filter(pk__in=items).select_related("sale", "product")
    ]


def payment_window(item: int) -> timedelta:
    """Time after which an unpaid order of this item is cancelled."""
    return SaleItem.objects.values_list("sale__payment_window", flat=True).get(pk=item)


def payment_windows(items: Iterable[int]) -> dict[int, timedelta]:
    """How long an order of each of these items waits for its payment."""
    with connection.cursor() as cursor:
        cursor.execute(_PAYMENT_WINDOWS, [list(items)])
        return dict(cursor.fetchall())


_PAYMENT_WINDOWS = """
    SELECT i.id, s.payment_window FROM inventory_saleitem i JOIN inventory_sale s ON s.id = i.sale_id WHERE i.id = ANY(%s)
"""


def stock_of(items: Iterable[int]) -> dict[int, Stock]:
    """The stock columns of these items."""
    rows = SaleItem.objects.filter(pk__in=items).values_list("pk", "available", "reserved", "sold")
    return {pk: Stock(*columns) for pk, *columns in rows}


def _watched() -> QuerySet[SaleItem]:
    return SaleItem.objects.filter(sale__closes_at__gt=now() - timedelta(seconds=settings.GATE_RETENTION_S))


def watched_items() -> list[int]:
    """Items that must have a gate: their sale has not ended, or ended within the retention time."""
    return list(_watched().order_by("pk").values_list("pk", flat=True))


def is_watched(item: int) -> bool:
    """Whether the item is one of ``watched_items``."""
    return _watched().filter(pk=item).exists()


def retired_items() -> list[int]:
    """Items whose gate can be deleted: their sale ended before the retention time, but recently enough to still have one."""
    retention = timedelta(seconds=settings.GATE_RETENTION_S)
    sales = Q(sale__closes_at__lte=now() - retention, sale__closes_at__gt=now() - retention - _RETIRING)
    return list(SaleItem.objects.filter(sales).values_list("pk", flat=True))


def existing_items(items: Iterable[int]) -> set[int]:
    """The ids among these that exist."""
    return set(SaleItem.objects.filter(pk__in=items).values_list("pk", flat=True))


def gate_versions(items: Iterable[int]) -> dict[int, tuple[int, int]]:
    """Item -> version of its terms and allocated units, as the gate should have them."""
    rows = SaleItem.objects.filter(pk__in=items).values_list("pk", "gate_version", "allocated")
    return {pk: (version, allocated) for pk, version, allocated in rows}


def items_of_sale(slug: str | None) -> list[int]:
    """Items of one sale, or of all sales if ``slug`` is None."""
    items = SaleItem.objects.filter(sale__slug=slug) if slug else SaleItem.objects.all()
    return list(items.order_by("pk").values_list("pk", flat=True))


def ledger_breaches(items: Iterable[int]) -> list[str]:
    """A message for each item whose stock columns differ from the sums of its movements."""
    kind = StockMovement.Kind

    def total(**signs: int) -> Coalesce:
        cases = [When(movements__kind=name, then=Value(sign) * F("movements__units")) for name, sign in signs.items()]
        return Coalesce(Sum(Case(*cases, default=Value(0), output_field=IntegerField())), 0)

    rows = (
        SaleItem.objects.filter(pk__in=items)
        .annotate(
            l_allocated=total(**{kind.ALLOCATE: 1, kind.ADJUST: 1}),
            l_reserved=total(**{kind.RESERVE: 1, kind.RELEASE: -1, kind.SELL: -1}),
            l_sold=total(**{kind.SELL: 1, kind.RETURN: -1}),
        )
        .exclude(Q(allocated=F("l_allocated")) & Q(reserved=F("l_reserved")) & Q(sold=F("l_sold")))
    )
    return [
        f"item {row.pk}: columns {row.allocated}/{row.reserved}/{row.sold}, "
        f"ledger {row.l_allocated}/{row.l_reserved}/{row.l_sold} (allocated/reserved/sold)"
        for row in rows
    ]


def listed_sales(limit: int, slugs: Iterable[str] | None = None) -> list[Sale]:
    """Sales with their items and products, newest first: current and future sales, then the most recently ended.

    Args:
        limit: maximum number of sales. Ended sales are left out first, then those that open last.
        slugs: only these sales.
    """
    since = now() - timedelta(seconds=settings.GATE_RETENTION_S)
    rows = (
        Sale.objects.filter(closes_at__gt=since) if slugs is None else Sale.objects.filter(closes_at__gt=since, slug__in=slugs)
    )
    is_over = Case(When(closes_at__lte=now(), then=1), default=0, output_field=IntegerField())
    found = rows.prefetch_related("items__product").order_by(is_over, "opens_at", "pk")[:limit]
    return sorted(found, key=lambda sale: (sale.opens_at, sale.pk), reverse=True)
