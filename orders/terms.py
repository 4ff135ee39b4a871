"""Check admitted orders against their item's terms: price and limit per customer."""

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
    """Ids of orders that fail the check.

    ``wrong``: the price is not the price of their terms. ``over``: more units than their terms allow one customer.
    ``unknown``: their terms are not in this database.
    """

    wrong: set[UUID] = field(default_factory=set)
    over: set[UUID] = field(default_factory=set)
    unknown: set[UUID] = field(default_factory=set)


class _Terms(NamedTuple):
    price: Decimal
    currency: str
    per_customer: int


def judge(item: SaleItem, orders: Sequence[AdmittedOrder]) -> Judged:
    """Compare each order with the terms that it was admitted under.

    An order without a version comes from a process that does not know versions. It matches any of the item's terms.
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
    """The orders among these that exceed their customer's limit. Used after a lost gate, which no longer knows earlier orders.

    An order that was placed under a higher limit stays valid after the limit is lowered. So the orders of a customer are sorted
    by limit version, and the units up to each version must not exceed the limit of that version.
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
    """
    Args:
        units: limit version (0 if unknown) -> units of one customer under it.
        most: limit version -> units allowed per customer.
    """
    total, highest = 0, max(most.values(), default=0)
    for version, of_version in sorted(units.items()):
        total += of_version
        if total > most.get(version, highest):
            return True
    return False
