"""Outbox of gate updates."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from django.db import connection

from flashsale.core import bulk
from orders.models import EffectBatch, GateEffect

_LARGEST = 500  # maximum number of orders per row

_LOCK = """
WITH singles AS (
    SELECT id, item_id, kind, order_id FROM orders_gateeffect
    WHERE kind = ANY(%(kinds)s) AND item_id <> ALL(%(left_out)s::bigint[]) ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), batches AS (
    SELECT id, item_id, kind, order_ids FROM orders_effectbatch
    WHERE kind = ANY(%(kinds)s) AND item_id <> ALL(%(left_out)s::bigint[]) ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
SELECT false AS is_batch, id, item_id, kind, ARRAY[order_id] FROM singles
UNION ALL SELECT true, id, item_id, kind, order_ids FROM batches ORDER BY is_batch, id
"""


@dataclass(slots=True)
class Effect:
    """A gate update for orders of one item, with the outbox rows that it came from."""

    item: int
    kind: str
    orders: list[UUID] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    singles: list[int] = field(default_factory=list)  # rows written by the previous release, one per order


def tell(kind: str, pairs: Iterable[tuple[int, UUID]]) -> None:
    """Queue a gate update for these (item, order) pairs. Call in the transaction that makes the change."""
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
    """Pending gate updates, oldest first, merged by item and kind.

    The rows stay locked until the transaction ends. Rows locked by others, and kinds that this release does not know, are
    skipped.

    Args:
        limit: maximum number of rows read from each of the two tables.
        but_not_of: ids of items to skip.
    """
    found: dict[tuple[int, str], Effect] = {}
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, {"kinds": list(GateEffect.Kind.values), "left_out": list(but_not_of), "limit": limit})
        rows = cursor.fetchall()
    for is_batch, pk, item, kind, orders in rows:
        effect = found.setdefault((item, kind), Effect(item, kind))
        effect.orders += orders
        (effect.batches if is_batch else effect.singles).append(pk)
    return list(found.values())


def forget_effects(effects: Iterable[Effect]) -> None:
    """Delete updates that the gate has applied."""
    told = list(effects)
    with connection.cursor() as cursor:
        if batches := [pk for effect in told for pk in effect.batches]:
            cursor.execute("DELETE FROM orders_effectbatch WHERE id = ANY(%s)", [batches])
        if singles := [pk for effect in told for pk in effect.singles]:
            cursor.execute("DELETE FROM orders_gateeffect WHERE id = ANY(%s)", [singles])
