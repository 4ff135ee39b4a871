"""Sales and their remaining units, served from the process's memory.

A process reads PostgreSQL and Redis once per ``CATALOG_TTL_S``, however many customers ask. While one of them is down, the
last data is served.
"""

import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, partial
from typing import Any

from django.conf import settings
from django.db import Error, close_old_connections

from flashsale.core import money
from flashsale.core.clock import now
from flashsale.core.database.patience import patience
from flashsale.core.keeper import Keeper
from flashsale.core.steps import Blocking, Steps, run
from inventory import selectors
from inventory.admission import gate
from inventory.errors import GateUnavailable, UnknownItem, UnknownSale
from inventory.models import Sale

logger = logging.getLogger(__name__)
_AHEAD = 0.5  # share of CATALOG_TTL_S after which the catalog is refreshed in the background
_WAIT_S = 0.2  # longest wait for a refresh; after that the data in memory is used
_LOOK_UP_EVERY_S = 0.1  # pause between queries for sales that are not in memory
_MOST_LISTED = 500  # limit of listed sales; other sales are read by slug
_MOST_OTHERS = 200
_SLUG = re.compile(r"[A-Za-z0-9_-]{1,64}")  # a NUL would make PostgreSQL refuse the whole query


@dataclass(frozen=True)
class _Snapshot:
    sales: dict[str, Sale] = field(default_factory=dict)
    stocks: dict[int, int | None] = field(default_factory=dict)
    taken_at: float = 0.0

    @cached_property
    def items(self) -> dict[tuple[str, str], tuple[int, bool]]:
        """(slug, SKU) -> item and whether its sale has a waiting room."""
        return {
            (slug, item.product.sku): (int(item.pk), sale.waiting_room_rate is not None)
            for slug, sale in self.sales.items()
            for item in sale.items.all()
        }

    @property
    def is_whole(self) -> bool:
        """Whether the list contains all sales."""
        return len(self.sales) < _MOST_LISTED


_snapshot = _Snapshot()
_keeper: Keeper | None = None
_lock = threading.Lock()


def keep() -> None:
    """Refresh in a background thread from now on, so that no request waits for PostgreSQL."""
    global _keeper
    _keeper = Keeper(_beside(_refresh), wait_s=_WAIT_S)
    _others.keep()


def _beside(work: Callable[[], None]) -> Callable[[], None]:
    """Wrap a refresh for a background thread: on an error the old data stays."""

    def do() -> None:
        try:
            with patience(settings.DATABASE_REQUEST_PATIENCE_S):
                work()
        except (Error, GateUnavailable):
            logger.warning("the catalog could not be read", extra={"event": "catalog_unread"})
        finally:
            close_old_connections()

    return do


def _current() -> _Snapshot:
    if time.monotonic() - _snapshot.taken_at <= settings.CATALOG_TTL_S:
        return _snapshot
    if _keeper is not None and _snapshot.taken_at:
        _keeper.ask()
        return _snapshot
    # One thread refreshes. The others use the old data if there is any.
    if _lock.acquire(blocking=not _snapshot.taken_at):
        try:
            if time.monotonic() - _snapshot.taken_at > settings.CATALOG_TTL_S:
                _refresh()
        finally:
            _lock.release()
    return _snapshot


def _refresh() -> None:
    global _snapshot
    try:
        sales = {sale.slug: sale for sale in selectors.listed_sales(_MOST_LISTED)}
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
    """Clear the data in memory."""
    global _snapshot
    _snapshot = _Snapshot()
    _others.forget()


class _Others:
    """Sales that are not in the list: new sales, and those over the limit. All requested slugs are read in one query.

    There are at most ten such queries per second, however many slugs are made up. Until the next one, a slug that is not in
    memory is unknown. A new sale is in the list within ``CATALOG_TTL_S``.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted: set[str] = set()
        self._looked_at = 0.0
        self._keeper: Keeper | None = None
        self._found: dict[str, _Snapshot] = {}

    def keep(self) -> None:
        """Read in a background thread from now on."""
        self._keeper = Keeper(_beside(self._read), wait_s=_WAIT_S)

    def forget(self) -> None:
        with self._lock:
            self._found, self._looked_at = {}, 0.0

    def get(self, slug: str) -> _Snapshot | None:
        """A catalog with only this sale, or None if it is unknown."""
        found = self._found.get(slug)
        if found is not None and time.monotonic() - found.taken_at <= settings.CATALOG_TTL_S:
            return found
        if "\x00" in slug or not self._may_read(slug):  # PostgreSQL rejects NUL
            return found
        if self._keeper is None:
            self._read()
        else:
            self._keeper.ask()
        return self._found.get(slug)

    def _may_read(self, slug: str) -> bool:
        if not _SLUG.fullmatch(slug):
            return False
        with self._lock:
            if time.monotonic() - self._looked_at < _LOOK_UP_EVERY_S:
                return False
            self._looked_at = time.monotonic()
            self._wanted.add(slug)
            return True

    def _read(self) -> None:
        with self._lock:
            wanted, self._wanted = self._wanted, set()
        sales = {sale.slug: sale for sale in selectors.listed_sales(_MOST_OTHERS, wanted)}
        try:
            stocks = gate.open_stocks([item.pk for sale in sales.values() for item in sale.items.all()])
        except GateUnavailable:
            stocks = {}
        read = {slug: _Snapshot({slug: sale}, stocks, time.monotonic()) for slug, sale in sales.items()}
        with self._lock:
            kept = [(slug, known) for slug, known in self._found.items() if slug not in wanted]
            self._found = dict([*kept[-_MOST_OTHERS:], *read.items()])


_others = _Others()


def _sale(slug: str) -> tuple[Sale, _Snapshot]:
    snapshot = _current()
    if slug in snapshot.sales:
        return snapshot.sales[slug], snapshot
    other = _others.get(slug)
    if other is None:
        raise UnknownSale
    return other.sales[slug], other


def item_and_line(slug: str, sku: str) -> tuple[int, bool]:
    """See :func:`finding`."""
    return run(finding(slug, sku))


def finding(slug: str, sku: str) -> Steps[tuple[int, bool]]:
    """The item, and whether its sale lets customers wait for their turn.

    Raises:
        UnknownSale, UnknownItem: not found.
    """
    snapshot = _snapshot
    if not is_at_hand(slug):
        _, snapshot = yield Blocking(partial(_sale, slug))
    try:
        return snapshot.items[slug, sku]
    except KeyError:
        raise UnknownItem from None


def is_at_hand(slug: str) -> bool:
    """Whether :func:`finding` answers from memory, without waiting for PostgreSQL."""
    age_s = time.monotonic() - _snapshot.taken_at
    if age_s > _AHEAD * settings.CATALOG_TTL_S and _keeper is not None:
        _keeper.ask(wait=False)
    is_recent = age_s <= settings.CATALOG_TTL_S or (_keeper is not None and _keeper.is_slow)
    return slug in _snapshot.sales and is_recent


def items_of(slug: str) -> dict[int, str]:
    """Item -> SKU of the sale's items.

    Raises:
        UnknownSale: not found.
    """
    sale, _ = _sale(slug)
    return {int(item.pk): item.product.sku for item in sale.items.all()}


def item_ids() -> list[int]:
    """The items of all listed sales."""
    return list(_current().stocks)


def may_have(item: int) -> bool:
    """Whether the item may belong to a current or recent sale. False is certain."""
    snapshot = _current()
    return item in snapshot.stocks or not snapshot.is_whole


def sales() -> list[dict[str, Any]]:
    """The listed sales in the API's format, newest first."""
    snapshot = _current()
    moment = now()
    return [_view(sale, snapshot, moment) for sale in snapshot.sales.values()]


def sale(slug: str) -> dict[str, Any]:
    """One sale in the API's format.

    Raises:
        UnknownSale: not found.
    """
    found, snapshot = _sale(slug)
    return _view(found, snapshot, now())


def listed() -> Mapping[str, Sale]:
    """The listed sales by their slugs, newest first; another object when they were read anew."""
    return _current().sales


def stocks() -> Mapping[int, int | None]:
    """item -> units left, as last read; None where its gate is missing."""
    return _current().stocks


def view_of(sale: Sale, stocks: Mapping[int, int | None], moment: datetime) -> dict[str, Any]:
    """A sale in the API's format, with these remaining units. None means that the item's gate is missing."""
    return _view(sale, _Snapshot(stocks=dict(stocks)), moment)


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
    """The public state. A live sale whose gates are all being rebuilt is shown as paused until they are open again."""
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
