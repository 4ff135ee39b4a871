"""Rebuild gates from PostgreSQL and what is left of their streams. The items answer ``paused`` meanwhile.

The stream is read first, then PostgreSQL in one snapshot for about a hundred items. An order that moves in between is then
found in PostgreSQL. Holds and buyers go from PostgreSQL to Redis in JSON chunks that Python does not decode.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.db import connection, transaction

from flashsale.core import bulk
from flashsale.core.lock import FencedLocks, LockHeld
from flashsale.core.redis_client import gate_client
from inventory import selectors, services
from inventory.admission import gate, new_gates
from inventory.admission.admitted import ItemTerms, Streamed
from inventory.admission.codes import EffectCode
from orders import holds
from tasks.models import GateMend

logger = logging.getLogger(__name__)
_LOCK_TTL_MS = 10_000  # extended during the rebuild; how long an item stays paused if the rebuild dies
# Items per snapshot. Bounds the repeated work after a crash and the time a gate waits for the others.
_MOST_ITEMS, _MOST_UNITS = 250, 250_000
_AT_ONCE = 2  # one snapshot reads PostgreSQL while the other writes to Redis


@dataclass(frozen=True, slots=True)
class Why:
    """The entry for the repair history. The numbers are the gate's values before the repair, None if it was missing."""

    cause: str
    actor: str = ""
    stock: int | None = None
    held: int | None = None
    sold: int | None = None


@dataclass(slots=True)
class Progress:
    """Progress of one gate's rebuild."""

    gate: new_gates.NewGate
    in_flight: int


@dataclass(slots=True)
class LedgerSide:
    """What the gates should contain, from one snapshot of PostgreSQL and the streams. ``stock`` is by item."""

    terms: dict[int, ItemTerms] = field(default_factory=dict)
    stock: dict[int, int] = field(default_factory=dict)
    sold: dict[int, int] = field(default_factory=dict)
    in_flight: Counter[int] = field(default_factory=Counter)
    only_streamed: list[Streamed] = field(default_factory=list)


def streamed_orders(items: Sequence[int]) -> list[Streamed]:
    """The orders in the streams of these items."""
    waiting = gate.waiting(items)
    return [order for item in items if any(waiting[item]) for order in gate.streamed(item)]


@contextmanager
def ledger_side(items: Sequence[int], streamed: Sequence[Streamed]) -> Iterator[LedgerSide]:
    """Open one snapshot of PostgreSQL. All reads inside the context see the same data.

    Args:
        streamed: orders that were read from the streams before.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        side = LedgerSide(only_streamed=holds.only_streamed(streamed))
        side.terms = {terms.item: terms for terms in selectors.terms(items)}
        for item, columns in selectors.stock_of(items).items():
            side.stock[item], side.sold[item] = columns.available, columns.sold
        for order in side.only_streamed:
            side.stock[order.item] -= order.units
        side.in_flight.update(order.item for order in streamed)
        for item, between in holds.in_flight(items).items():
            side.in_flight[item] += between.intake + between.effects
        yield side


def rebuild_gate(item: int, *, why: Why | None = None, wait_ms: int = 0) -> None:
    """Rebuild one item's gate; see :func:`rebuild_gates`.

    Raises:
        LockHeld: another process is rebuilding this gate.
            Unavailable: Redis cannot be reached.
    """
    if not _rebuild([item], {item: why} if why else {}, wait_ms):
        raise LockHeld(retry_after=1)


def rebuild_gates(items: Iterable[int], whys: Mapping[int, Why] | None = None) -> None:
    """Rebuild these gates, about a hundred at a time. Each group is opened as soon as it is done.

    May run twice and concurrently: items that another process is rebuilding are skipped. If that process dies, the next rebuild
    takes over. Memory use is bounded by the chunks in flight and the largest stream.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    chunks = list(_chunks(items))
    if len(chunks) < 2:
        for chunk in chunks:
            _rebuild(chunk, whys or {})
        return
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(lambda chunk: _in_thread(chunk, whys or {}), chunks))


def _in_thread(items: Sequence[int], whys: Mapping[int, Why]) -> None:
    try:
        _rebuild(items, whys)
    finally:
        connection.close()


def _chunks(items: Iterable[int]) -> Iterator[list[int]]:
    chunk: list[int] = []
    units = 0
    for item, stock in sorted(selectors.stock_of(items).items()):
        own = stock.reserved + stock.sold
        if chunk and (len(chunk) == _MOST_ITEMS or units + own > _MOST_UNITS):
            yield chunk
            chunk, units = [], 0
        chunk.append(item)
        units += own
    if chunk:
        yield chunk


def _rebuild(items: Sequence[int], whys: Mapping[int, Why | None], wait_ms: int = 0) -> bool:
    """Rebuild a group. Returns False if other processes hold the locks of all its items."""
    names = {f"rebuild:{item}": item for item in items}
    with FencedLocks(gate_client(), list(names), ttl_ms=_LOCK_TTL_MS, wait_ms=wait_ms) as locks:
        began = time.monotonic()
        fences = {names[name]: fence for name, fence in locks.fences.items()}
        begun = new_gates.begin(fences)
        if begun:
            services.start_gates(begun, lost=[item for item, had_gate in begun.items() if not had_gate])
            made = stage(list(begun), fences, streamed_orders(list(begun)), locks.prolong)
            codes = new_gates.open_gates([new.gate for new in made.values()])
            opened = [new for new in made.values() if codes[new.gate.terms.item] is EffectCode.DONE]
            _write_down(opened, whys, round(1000 * (time.monotonic() - began)))
        return bool(fences)


def stage(
    items: Sequence[int], fences: Mapping[int, int], streamed: Sequence[Streamed], prolong: Callable[[], None]
) -> dict[int, Progress]:
    """Stage the gates of these items. ``streamed`` must be read after their rebuild has begun."""
    units: Counter[tuple[int, str]] = Counter()
    staged: Counter[tuple[int, str]] = Counter()
    with ledger_side(items, streamed) as side:
        for some in holds.pieces(items, side.only_streamed):
            for piece, count in zip(some, new_gates.stage(fences, some), strict=True):
                units[piece.item, piece.kind] += piece.units
                staged[piece.item, piece.kind] += count
            prolong()
    return {
        item: Progress(
            new_gates.NewGate(
                terms,
                fences[item],
                side.stock[item],
                side.sold[item],
                holds=staged[item, "held"],
                buyers=staged[item, "buyers"],
                held=units[item, "held"],
                bought=units[item, "buyers"],
            ),
            side.in_flight[item],
        )
        for item, terms in side.terms.items()
    }


def _write_down(opened: Sequence[Progress], whys: Mapping[int, Why | None], took_ms: int) -> None:
    rows = []
    for new in opened:
        why = whys.get(new.gate.terms.item) or Why("asked for")
        rows.append(
            {
                "item_id": new.gate.terms.item,
                "cause": why.cause[:300],
                "actor": why.actor,
                "stock_before": why.stock,
                "held_before": why.held,
                "sold_before": why.sold,
                "stock_after": new.gate.stock,
                "held_after": new.gate.held,
                "sold_after": new.gate.sold,
                "in_flight": new.in_flight,
                "fence": new.gate.fence,
                "took_ms": took_ms,
            }
        )
    bulk.insert(GateMend, rows)
    logger.info("gates rebuilt", extra={"event": "gates_rebuilt", "items": len(rows), "took_ms": took_ms})
