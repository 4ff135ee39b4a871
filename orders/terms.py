"""Whether admitted orders are under terms that their item has, or had: price, and how many one customer may have."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import NamedTuple
from uuid import UUID

from inventory.admission.admitted import AdmittedOrder
from inventory.models import SaleItem, Terms
from orders import holds


@dataclass(slots=True)
class Judged:
    """``wrong``: at a price that is not that of their terms. ``over``: of more units than their terms allow anybody.

    ``unknown``: under terms that this database does not have.
    """

    wrong: set[UUID] = field(default_factory=set)
    over: set[UUID] = field(default_factory=set)
    unknown: set[UUID] = field(default_factory=set)


class _Terms(NamedTuple):
    price: Decimal
    currency: str
    per_customer: int


def judge(item: SaleItem, orders: Sequence[AdmittedOrder]) -> Judged:
    """Compare orders, each by itself, with the terms that they were admitted under.

    An order that names no version comes from a process that does not know of versions; any of the item's terms may be its own.

    Args:
        item: its row.
    """
    judged, present = Judged(), item.terms_version
    history = {present: _Terms(item.price, item.currency, item.per_customer)}
    if any({order.terms_version, order.limit_version} != {present} for order in orders):
        rows = Terms.objects.filter(item=item)
        history |= {row.version: _Terms(row.price, row.currency, row.per_customer) for row in rows}
    for order in orders:
        if not {order.terms_version, order.limit_version} <= {0, *history}:
            judged.unknown.add(order.id)
        elif not any(_is_at(order, terms) for terms in _possible(order.terms_version, history)):
            judged.wrong.add(order.id)
        elif all(order.units > terms.per_customer for terms in _possible(order.limit_version, history)):
            judged.over.add(order.id)
    return judged


def _possible(version: int, history: Mapping[int, _Terms]) -> Iterable[_Terms]:
    return [history[version]] if version else history.values()


def _is_at(order: AdmittedOrder, terms: _Terms) -> bool:
    try:
        return Decimal(order.price) == terms.price and order.currency == terms.currency
    except InvalidOperation:
        return False


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
