"""Holds and buyers according to PostgreSQL: what a gate must contain.

PostgreSQL builds the result as JSON chunks, so that this process does not load one row per order.
Read the stream first, then PostgreSQL in one snapshot. An order that moves in between is then found in PostgreSQL.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from django.db import connection
from django.db.models import Count, Func, IntegerField, QuerySet, Sum

from inventory.admission.admitted import Piece, Streamed
from orders.models import WRITTEN_OFF, EffectBatch, GateEffect, Intake, Order
from orders.states import OrderStatus

_PIECE = 10_000  # approximate number of holds or buyers per chunk
_ROWS = 16  # chunks fetched at a time
_BOUGHT = (OrderStatus.PAID, OrderStatus.REFUNDED)
_HOLDING = (OrderStatus.RESERVED, OrderStatus.PENDING_PAYMENT)
_HOLDS = """
    SELECT id, item_id, customer_id::bigint AS customer, quantity AS units FROM orders_order
    WHERE item_id = ANY(%(items)s) AND status = ANY(%(statuses)s) AND reason <> 'restocked'
    UNION ALL SELECT id, item_id, (payload ->> 'customer')::bigint, (payload ->> 'units')::int FROM orders_intake
    WHERE item_id = ANY(%(items)s) AND reason = ''
    UNION ALL SELECT * FROM unnest(%(ids)s::uuid[], %(of_items)s::bigint[], %(customers)s::bigint[], %(units)s::int[])
"""
_KNOWN = """
    SELECT id FROM orders_intake WHERE id = ANY(%(ids)s::uuid[])
    UNION ALL SELECT id FROM orders_order WHERE id = ANY(%(ids)s::uuid[])
"""
_UNITS_BY_LIMIT = """
    SELECT customer, version, sum(units)::bigint FROM (
        SELECT customer_id::bigint AS customer, coalesce(limit_version, 0) AS version, quantity AS units FROM orders_order
        WHERE item_id = %(item)s AND customer_id = ANY(%(customers)s::bigint[]) AND status = ANY(%(statuses)s)
        AND reason <> 'restocked'
        UNION ALL
        SELECT (payload ->> 'customer')::bigint, coalesce((payload ->> 'limit_version')::bigint, 0), (payload ->> 'units')::int
        FROM orders_intake
        WHERE item_id = %(item)s AND LEFT(payload ->> 'customer', 20) = ANY(%(names)s::text[]) AND reason = ''
    ) held GROUP BY customer, version
"""
# Sold and reserved units bound the number of customers and holds of an item, so they set the number of chunks.
_PART = f"customer %% (1 + (i.reserved + i.sold) / {_PIECE})"
_STATEMENTS = {
    "held": f"""
        SELECT item_id, sum(units), '[' || string_agg('"' || h.id || '","' || customer || ':' || units || '"', ',') || ']'
        FROM ({_HOLDS}) h JOIN inventory_saleitem i ON i.id = item_id GROUP BY item_id, {_PART}
    """,  # noqa: S608 - constants of ours
    "buyers": f"""
        SELECT item_id, sum(units), '[' || string_agg(customer || ',' || units, ',') || ']'
        FROM (SELECT item_id, customer, sum(units) AS units FROM ({_HOLDS}) h GROUP BY item_id, customer) b
        JOIN inventory_saleitem i ON i.id = item_id GROUP BY item_id, {_PART}
    """,  # noqa: S608
}


def pieces(items: Sequence[int], streamed: Iterable[Streamed]) -> Iterator[list[Piece]]:
    """All holds and buyers of these items, in chunks. Iterate inside one transaction.

    Args:
        streamed: orders that are in the stream but not in PostgreSQL.
    """
    rows = list(streamed)
    values: dict[str, Any] = {
        "items": list(items),
        "ids": [str(row.id) for row in rows],
        "of_items": [row.item for row in rows],
        "customers": [row.customer for row in rows],
        "units": [row.units for row in rows],
    }
    kinds: tuple[tuple[Literal["held", "buyers"], tuple[OrderStatus, ...]], ...] = (
        ("buyers", _HOLDING + _BOUGHT),
        ("held", _HOLDING),
    )
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL cursor_tuple_fraction = 1")  # optimise for the whole result, not for the first rows
    for kind, statuses in kinds:
        with connection.chunked_cursor() as cursor:
            cursor.execute(_STATEMENTS[kind], values | {"statuses": [str(status) for status in statuses]})
            while found := cursor.fetchmany(_ROWS):
                yield [Piece(item, kind, int(units), pairs) for item, units, pairs in found]


@dataclass(slots=True)
class Holds:
    """``held`` maps an order to its customer and units; ``buyers`` maps a customer to their units held or bought."""

    held: dict[UUID, tuple[int, int]] = field(default_factory=dict)
    buyers: Counter[int] = field(default_factory=Counter)


def holds_of(item: int, streamed: Iterable[Streamed]) -> Holds:
    """The chunks of one item, merged."""
    holds = Holds()
    for piece in (piece for some in pieces([item], streamed) for piece in some):
        values = json.loads(piece.pairs)
        pairs = zip(values[::2], values[1::2], strict=True)
        if piece.kind == "buyers":
            holds.buyers.update(dict(pairs))
        else:
            for order, hold in pairs:
                customer, _, units = hold.partition(":")
                holds.held[UUID(order)] = int(customer), int(units)
    return holds


@dataclass(frozen=True, slots=True)
class InFlight:
    """Work of an item that has not been finished yet: intake orders without a row, and effects not applied to the gate."""

    intake: int = 0
    effects: int = 0


def in_flight(items: Sequence[int]) -> Mapping[int, InFlight]:
    """Work in flight by item id. Items without any are left out."""
    intake = _count_by_item(Intake.objects.filter(item_id__in=items).exclude(reason__in=WRITTEN_OFF))
    effects = Counter(_count_by_item(GateEffect.objects.filter(item_id__in=items)))
    batches = EffectBatch.objects.filter(item_id__in=items).order_by().values_list("item_id")
    size = Func("order_ids", function="cardinality", output_field=IntegerField())
    effects.update(dict(batches.annotate(orders=Sum(size))))
    return {item: InFlight(intake.get(item, 0), effects.get(item, 0)) for item in intake.keys() | effects.keys()}


def _count_by_item(rows: QuerySet[Intake] | QuerySet[GateEffect]) -> dict[int, int]:
    return dict(rows.order_by().values_list("item_id").annotate(Count("pk")))


def only_streamed(streamed: Sequence[Streamed]) -> list[Streamed]:
    """The orders among these that PostgreSQL does not know."""
    known = known_ids(row.id for row in streamed)
    return [row for row in streamed if row.id not in known]


def units_by_limit(item: int, customers: Iterable[int]) -> dict[int, dict[int, int]]:
    """Units that these customers hold or have bought: customer -> limit version (0 if unknown) -> units.

    Uses one statement. Between two statements an order could move from the intake to a row and be missed.
    """
    wanted = sorted(set(customers))
    found: dict[int, dict[int, int]] = {}
    with connection.cursor() as cursor:
        statuses = [str(status) for status in _HOLDING + _BOUGHT]
        values: dict[str, Any] = {
            "item": item,
            "customers": wanted,
            "names": [str(customer) for customer in wanted],
            "statuses": statuses,
        }
        cursor.execute(_UNITS_BY_LIMIT, values)
        for customer, version, units in cursor.fetchall():
            found.setdefault(customer, {})[version] = units
    return found


def known_ids(order_ids: Iterable[UUID]) -> set[UUID]:
    """The orders among these that PostgreSQL knows."""
    ids = list(order_ids)
    if not ids:
        return set()
    with connection.cursor() as cursor:  # one statement, because orders move from one table to the other
        cursor.execute(_KNOWN, {"ids": [str(pk) for pk in ids]})
        return {pk for (pk,) in cursor.fetchall()}


def written_off(order_ids: Iterable[UUID]) -> set[UUID]:
    """The orders among these that were written off. The gate must have no hold for them."""
    ids = list(order_ids)
    rows = Order.objects.filter(pk__in=ids, status=OrderStatus.REJECTED, reason__in=WRITTEN_OFF)
    without_a_row = Intake.objects.filter(pk__in=ids, reason__in=WRITTEN_OFF)
    return {*rows.values_list("pk", flat=True), *without_a_row.values_list("pk", flat=True)}
