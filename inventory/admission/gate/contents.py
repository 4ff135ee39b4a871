"""Read the full contents of an item's gate without blocking customers."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import redis

from flashsale.core.redis_client import gate_client
from inventory.admission import keys
from inventory.admission.gate.calls import guarded

_SMALL = 2_000  # fields read in one transaction with the counts: about a millisecond of server time
_PAGE = 1_000
_READINGS = 3


@dataclass(frozen=True, slots=True)
class GateSnapshot:
    """An item's gate. ``is_exact``: all values are from one moment. Otherwise they changed while read and may not add up."""

    stock: int
    sold: int
    allocated: int
    version: int
    state: str
    rebuilding: bool
    held: dict[UUID, tuple[int, int]]
    buyers: dict[int, int]
    backlog: int
    is_exact: bool = True


@dataclass(frozen=True, slots=True)
class _Counts:
    """Values that show whether the gate has changed, together with the id of the last entry.

    An admission changes the id, a settlement ``sold``, a release the stock, a new allocation the version or ``allocated``.
    """

    stock: int
    sold: int
    allocated: int
    version: int
    state: str
    rebuilding: bool
    backlog: int
    holds: int
    buyers: int


@guarded
def snapshot(item: int) -> GateSnapshot | None:
    """The gate, or None if it is missing.

    A small gate is read in one transaction. A large one is read about a thousand fields at a time, up to three times, until it
    has not changed in between.
    """
    last, (counts, small) = _last_entry(item), _look(item)
    if counts is None or small is not None:
        return small
    for _ in range(_READINGS):
        before, last_before = counts, last
        holds = {UUID(order): _hold(value) for order, value in _pages(keys.held(item))}
        buyers = {int(customer): int(units) for customer, units in _pages(keys.buyers(item))}
        counts, _ = _look(item)
        if counts is None:
            return None
        last = _last_entry(item)
        if is_exact := (counts, last) == (before, last_before):
            break
    return _snapshot(counts, holds, buyers, is_exact=is_exact)


def _last_entry(item: int) -> str:
    """The stream id of the last admitted order, even if the entry is deleted."""
    try:
        return str(gate_client().xinfo_stream(keys.admitted(item))["last-generated-id"])
    except redis.exceptions.ResponseError:  # no stream yet
        return ""


def _look(item: int) -> tuple[_Counts | None, GateSnapshot | None]:
    """The counts at one moment, and the whole gate at that moment if it is small."""
    client = gate_client()
    is_small = client.hlen(keys.held(item)) + client.hlen(keys.buyers(item)) <= _SMALL
    pipe = client.pipeline(transaction=True)
    pipe.hmget(keys.meta(item), "allocated", "sold", "version", "state", "rebuilding")
    pipe.get(keys.stock(item))
    pipe.hlen(keys.held(item))
    pipe.hlen(keys.buyers(item))
    pipe.xlen(keys.admitted(item))
    if is_small:
        pipe.hgetall(keys.held(item))
        pipe.hgetall(keys.buyers(item))
    (allocated, sold, version, state, rebuilding), stock, holds, buyers, backlog, *whole = pipe.execute()
    if allocated is None or stock is None:
        return None, None
    counts = _Counts(
        stock=int(stock),
        sold=int(sold or 0),
        allocated=int(allocated),
        version=int(version or 0),
        state=state or "",
        rebuilding=rebuilding is not None,
        backlog=int(backlog),
        holds=int(holds),
        buyers=int(buyers),
    )
    if not whole:
        return counts, None
    held, bought = whole
    held_by_order = {UUID(order): _hold(value) for order, value in held.items()}
    return counts, _snapshot(counts, held_by_order, {int(customer): int(units) for customer, units in bought.items()})


def _pages(key: str) -> Iterable[tuple[str, str]]:
    fields: Iterable[tuple[str, str]] = gate_client().hscan_iter(key, count=_PAGE)
    return fields


def _snapshot(
    counts: _Counts, held: dict[UUID, tuple[int, int]], buyers: dict[int, int], *, is_exact: bool = True
) -> GateSnapshot:
    values: dict[str, Any] = {
        name: getattr(counts, name) for name in ("stock", "sold", "allocated", "version", "state", "rebuilding", "backlog")
    }
    return GateSnapshot(**values, held=held, buyers=buyers, is_exact=is_exact)


def _hold(value: str) -> tuple[int, int]:
    customer, units, *_ = value.split(":")  # a newer release may have added fields
    return int(customer), int(units)
