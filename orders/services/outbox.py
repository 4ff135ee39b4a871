"""What the gate still has to be told of orders."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from flashsale.core import bulk
from orders.models import EffectBatch, GateEffect

_LARGEST = 500  # orders in one row


@dataclass(slots=True)
class Effect:
    """What the gate has to be told of orders of one item, and the rows that say so."""

    item: int
    kind: str
    orders: list[UUID] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    singles: list[int] = field(default_factory=list)  # rows of the release before, one for each order


def tell(kind: str, pairs: Iterable[tuple[int, UUID]]) -> None:
    """Write down that the gate has to learn of these (item, order) pairs, in the transaction of the change itself."""
    by_item: dict[int, list[UUID]] = defaultdict(list)
    for item, order in pairs:
        by_item[item].append(order)
    rows = [
        {"item_id": item, "kind": kind, "order_ids": list(some)} for item, orders in by_item.items() for some in _parts(orders)
    ]
    bulk.insert(EffectBatch, rows)


def _parts(orders: Sequence[UUID]) -> Iterator[Sequence[UUID]]:
    return (orders[first : first + _LARGEST] for first in range(0, len(orders), _LARGEST))


def lock_effects(limit: int, but_not_of: Iterable[int] = ()) -> list[Effect]:
    """What the gate has to be told, the oldest first: one for each item and kind.

    The rows are the caller's until its transaction ends; what others have locked, and kinds that only another release knows,
    are left out.

    Args:
        limit: rows; of each table.
        but_not_of: items whose effects stay where they are.
    """
    found: dict[tuple[int, str], Effect] = {}
    which = {"kind__in": GateEffect.Kind.values}
    left_out = list(but_not_of)
    singles = GateEffect.objects.filter(**which).exclude(item_id__in=left_out).select_for_update(skip_locked=True)
    for pk, item, kind, order in singles.order_by("pk").values_list("pk", "item_id", "kind", "order_id")[:limit]:
        effect = found.setdefault((item, kind), Effect(item, kind))
        effect.orders.append(order)
        effect.singles.append(pk)
    batches = EffectBatch.objects.filter(**which).exclude(item_id__in=left_out).select_for_update(skip_locked=True)
    for pk, item, kind, orders in batches.order_by("pk").values_list("pk", "item_id", "kind", "order_ids")[:limit]:
        effect = found.setdefault((item, kind), Effect(item, kind))
        effect.orders += orders
        effect.batches.append(pk)
    return list(found.values())


def forget_effects(effects: Iterable[Effect]) -> None:
    """The gate knows."""
    told = list(effects)
    for model, ids in (
        (EffectBatch, [pk for effect in told for pk in effect.batches]),
        (GateEffect, [pk for effect in told for pk in effect.singles]),
    ):
        if ids:
            model._default_manager.filter(pk__in=ids).delete()
