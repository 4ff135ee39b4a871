"""Whether admitted orders are under terms that their item has, or had: price, and how many one customer may have."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from uuid import UUID

from inventory.admission.admitted import AdmittedOrder
from inventory.models import SaleItem, Terms
from orders import holds


@dataclass(slots=True)
class Judged:
    """``wrong``: at a price that is not that of their terms. ``unknown``: under terms that this database does not have."""

    wrong: set[UUID] = field(default_factory=set)
    unknown: set[UUID] = field(default_factory=set)


def judge_prices(item: SaleItem, orders: Iterable[AdmittedOrder]) -> Judged:
    """Compare what orders are charged with the terms of their item.

    An order that names no version comes from a process that does not know of versions; any of the item's terms may be its own.

    Args:
        item: its row, locked or not.
    """
    judged = Judged()
    others = [order for order in orders if not _is_of(order, item.terms_version, item.price, item.currency)]
    if not others:
        return judged
    history = {row.version: row for row in Terms.objects.filter(item=item)}
    for order in others:
        versions = [order.terms_version] if order.terms_version else list(history)
        known = [history[version] for version in versions if version in history]
        if not known:
            judged.unknown.add(order.id)
        elif not any(_is_of(order, order.terms_version, row.price, row.currency) for row in known):
            judged.wrong.add(order.id)
    return judged


def _is_of(order: AdmittedOrder, version: int, price: Decimal, currency: str) -> bool:
    try:
        is_price = Decimal(order.price) == price
    except InvalidOperation:
        return False
    return is_price and order.currency == currency and order.terms_version in (0, version)


def over_limit(item: SaleItem, orders: Sequence[AdmittedOrder]) -> set[UUID]:
    """Those of these orders that are too many for their customers: a gate that was lost has forgotten what they had.

    An order made under a higher limit stands when the limit is lowered. So, with the orders of a customer in the order of the
    versions of their limits: up to each version they have no more units than it allows.
    """
    if not orders:
        return set()
    most = dict(Terms.objects.filter(item=item).values_list("version", "per_customer"))
    units = holds.units_by_limit(item.pk, {order.customer for order in orders})
    over = set()
    for order in orders:
        mine = units.setdefault(order.customer, {})
        with_it = {**mine, order.limit_version: mine.get(order.limit_version, 0) + order.units}
        if _is_over(with_it, most):
            over.add(order.id)
        else:
            units[order.customer] = with_it
    return over


def _is_over(units: Mapping[int, int], most: Mapping[int, int]) -> bool:
    """Args:
    units: version of the limit, 0 for not known -> units of one customer under it.
    most: version -> units that it allows a customer.
    """
    total, highest = 0, max(most.values(), default=0)
    for version, of_version in sorted(units.items()):
        total += of_version
        if total > most.get(version, highest):
            return True
    return False
