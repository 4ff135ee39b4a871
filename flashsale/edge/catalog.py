"""Sales and what is left of them, from the process's memory: a crowd that looks costs the servers next to nothing.

A process asks PostgreSQL and Redis once per ``CATALOG_TTL_S``, whatever number of customers ask it. While one of them is
away, the last answer stands.
"""

import logging
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import Error, close_old_connections

from flashsale.core import money
from flashsale.core.clock import now
from flashsale.core.database.patience import patience
from flashsale.edge.keeper import Keeper
from inventory import selectors
from inventory.admission import gate
from inventory.errors import GateUnavailable, UnknownItem, UnknownSale
from inventory.models import Sale

logger = logging.getLogger(__name__)
_WAIT_S = 0.2  # for news that are being looked for; then what is in memory will do
_LOOK_AGAIN_S = 0.1  # for a sale that is not in memory


@dataclass(frozen=True, slots=True)
class _Snapshot:
    sales: dict[str, Sale] = field(default_factory=dict)
    stocks: dict[int, int | None] = field(default_factory=dict)
    taken_at: float = 0.0


_snapshot = _Snapshot()
_keeper: Keeper | None = None
_lock = threading.Lock()


def keep() -> None:
    """From now on a thread of its own looks for news when somebody needs them, so that no request waits for PostgreSQL."""
    global _keeper
    _keeper = Keeper(_look, wait_s=_WAIT_S)


def _look() -> None:
    try:
        with patience(settings.DATABASE_REQUEST_PATIENCE_S):
            _refresh()
    except (Error, GateUnavailable):
        logger.warning("the catalog cannot be read", extra={"event": "catalog_unread"})
    finally:
        close_old_connections()


def _current(max_age_s: float) -> _Snapshot:
    if time.monotonic() - _snapshot.taken_at <= max_age_s:
        return _snapshot
    if _keeper is not None and _snapshot.taken_at:
        _keeper.ask()
        return _snapshot
    # One thread asks; the others take what is there, unless nothing is.
    if _lock.acquire(blocking=not _snapshot.taken_at or max_age_s < settings.CATALOG_TTL_S):
        try:
            if time.monotonic() - _snapshot.taken_at > max_age_s:
                _refresh()
        finally:
            _lock.release()
    return _snapshot


def _refresh() -> None:
    global _snapshot
    try:
        sales = {sale.slug: sale for sale in selectors.listed_sales()}
    except Error:
        if not _snapshot.taken_at:
            raise
        sales = _snapshot.sales
    items = [item.pk for sale in sales.values() for item in sale.items.all()]
    try:
        stocks = gate.open_stocks(items)
    except GateUnavailable:
        stocks = _snapshot.stocks
    _snapshot = _Snapshot(sales, stocks, time.monotonic())


def forget() -> None:
    """Drop what is in memory."""
    global _snapshot
    _snapshot = _Snapshot()


def _sale(slug: str) -> tuple[Sale, _Snapshot]:
    for max_age_s in (settings.CATALOG_TTL_S, _LOOK_AGAIN_S):
        snapshot = _current(max_age_s)
        if slug in snapshot.sales:
            return snapshot.sales[slug], snapshot
    raise UnknownSale


def item_id(slug: str, sku: str) -> int:
    """
    Raises:
        UnknownSale, UnknownItem: there is none.
    """
    sale, _ = _sale(slug)
    for item in sale.items.all():
        if item.product.sku == sku:
            return int(item.pk)
    raise UnknownItem


def items_of(slug: str) -> dict[int, str]:
    """item -> SKU, of a sale.

    Raises:
        UnknownSale: there is none.
    """
    sale, _ = _sale(slug)
    return {int(item.pk): item.product.sku for item in sale.items.all()}


def has_waiting_room(slug: str) -> bool:
    """Whether the sale lets customers wait for their turn."""
    found, _ = _sale(slug)
    return found.waiting_room_rate is not None


def item_ids() -> list[int]:
    """Every item of every listed sale."""
    return list(_current(settings.CATALOG_TTL_S).stocks)


def sales() -> list[dict[str, Any]]:
    """All listed sales, newest first, as the API shows them."""
    snapshot = _current(settings.CATALOG_TTL_S)
    moment = now()
    return [_view(sale, snapshot, moment) for sale in snapshot.sales.values()]


def sale(slug: str) -> dict[str, Any]:
    """One sale as the API shows it.

    Raises:
        UnknownSale: there is none.
    """
    found, snapshot = _sale(slug)
    return _view(found, snapshot, now())


def _time(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _view(sale: Sale, snapshot: _Snapshot, moment: datetime) -> dict[str, Any]:
    return {
        "slug": sale.slug,
        "name": sale.name,
        "state": _state(sale, snapshot, moment),
        "opens_at": _time(sale.opens_at),
        "closes_at": _time(sale.closes_at),
        "server_time": _time(moment),
        "items": [_item(item, snapshot.stocks.get(item.pk)) for item in sale.items.all()],
    }


def _state(sale: Sale, snapshot: _Snapshot, moment: datetime) -> str:
    """A live sale none of whose gates admits, because they are being rebuilt, is paused; it opens again by itself."""
    state = selectors.public_state(sale.state, sale.opens_at, sale.closes_at, moment)
    items = [item.pk for item in sale.items.all()]
    is_shut = bool(items) and all(snapshot.stocks.get(item) is None for item in items)
    return "paused" if state == "live" and is_shut else state


def _item(item: Any, stock: int | None) -> dict[str, Any]:
    remaining = max(0, item.available if stock is None else stock)
    return {
        "sku": item.product.sku,
        "name": item.product.name,
        "price": money.text(item.price, item.currency),
        "currency": item.currency,
        "list_price": None if item.list_price is None else money.text(item.list_price, item.currency),
        "per_customer": item.per_customer,
        "remaining": remaining,
        "sold_out": remaining == 0,
    }
