"""Admitted orders on their way to the ledger: waiting, claimed, acknowledged."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from json import JSONDecodeError, loads
from typing import Any, Literal

import redis

from flashsale.core.lua import Script
from flashsale.core.redis_client import gate_client
from inventory.admission import keys
from inventory.admission.admitted import AdmittedOrder
from inventory.admission.gate.calls import LUA, guarded

UNQUEUE = LUA / "unqueue.lua"
_CLAIM = Script(LUA / "claim-2.lua")
_ACK = Script(LUA / "ack-3.lua", parts=[UNQUEUE])
_HOLD_BACK = Script(LUA / "hold_back-1.lua")
_GROUP = "ledger"
_STREAM_PAGE = 1_000

Entry = tuple[str, AdmittedOrder]
Turn = Literal["served", "refused", "done"]


@dataclass(frozen=True, slots=True)
class Claim:
    """Entries taken from the stream; ``broken`` are those that nobody can read."""

    entries: list[Entry]
    broken: list[tuple[str, str]]


def _parse(raw: Iterable[tuple[str, Mapping[str, str]] | Sequence[Any]]) -> Claim:
    entries: list[Entry] = []
    broken: list[tuple[str, str]] = []
    for entry_id, fields in raw:
        values = fields if isinstance(fields, Mapping) else dict(zip(fields[::2], fields[1::2], strict=True))
        try:
            entries.append((entry_id, AdmittedOrder.from_payload(loads(values["o"]))))
        except (KeyError, TypeError, ValueError, JSONDecodeError):
            broken.append((entry_id, str(values)))
    return Claim(entries, broken)


@guarded
def claim(item: int, *, consumer: str, limit: int, in_flight: int) -> Claim:
    """Take up to ``limit`` waiting orders, unless ``in_flight`` or more are on their way already."""
    raw = _CLAIM(gate_client(), [keys.meta(item), keys.admitted(item)], [consumer, limit, in_flight])
    return _parse(raw)


@guarded
def steal(item: int, *, consumer: str, idle_ms: int, limit: int) -> Claim:
    """Take over orders whose claim has stood still for ``idle_ms`` milliseconds."""
    try:
        answer = gate_client().xautoclaim(keys.admitted(item), _GROUP, consumer, idle_ms, "0-0", count=limit)
    except redis.exceptions.ResponseError as error:
        if "NOGROUP" in str(error):
            return Claim([], [])
        raise
    return _parse([entry for entry in answer[1] if entry[1]])


@guarded
def ack(item: int, entries: Sequence[Entry]) -> bool:
    """Forget orders that the ledger has recorded; True when more wait and the caller must wake the dispatcher."""
    args = [value for entry_id, order in entries for value in (entry_id, order.customer, str(order.id))]
    return bool(_ACK(gate_client(), [keys.meta(item), keys.admitted(item), keys.queued(item)], args))


@guarded
def drop(item: int, entry_ids: Sequence[str]) -> None:
    """Forget entries that nobody can read."""
    args = [value for entry_id in entry_ids for value in (entry_id, "", "")]
    _ACK(gate_client(), [keys.meta(item), keys.admitted(item), keys.queued(item)], args)


@guarded
def waiting(items: Sequence[int]) -> dict[int, tuple[int, int]]:
    """item -> orders in the stream that nobody has claimed, and that somebody has; one trip."""
    pipe = gate_client().pipeline(transaction=False)
    _ask_waiting(pipe, items)
    return _read_waiting(items, pipe.execute(raise_on_error=False))


@guarded
def turns(items: Sequence[int], *, most: int) -> tuple[dict[int, tuple[int, int]], list[int]]:
    """``waiting`` of these items, and up to ``most`` that are held back, least recently served first; one trip."""
    pipe = gate_client().pipeline(transaction=False)
    _ask_waiting(pipe, items)
    pipe.zrange(keys.held_back(), 0, most - 1)
    *answers, held_back = pipe.execute(raise_on_error=False)
    return _read_waiting(items, answers), [int(item) for item in held_back]


def _ask_waiting(pipe: "redis.client.Pipeline", items: Sequence[int]) -> None:
    for item in items:
        pipe.xlen(keys.admitted(item))
        pipe.xpending(keys.admitted(item), _GROUP)


def _read_waiting(items: Sequence[int], answers: Sequence[Any]) -> dict[int, tuple[int, int]]:
    found = {}
    for index, item in enumerate(items):
        length, pending = answers[2 * index], answers[2 * index + 1]
        claimed = int(pending["pending"]) if isinstance(pending, dict) else 0
        found[item] = int(length) - claimed, claimed
    return found


@guarded
def wake_once(*, ttl_ms: int) -> bool:
    """True for the first who asks within ``ttl_ms`` milliseconds."""
    return bool(gate_client().set(keys.woken(), "1", nx=True, px=ttl_ms))


@guarded
def hold_back(changes: Mapping[int, Turn]) -> None:
    """Note what became of these items in a round of the dispatcher, in the order in which they had their turns."""
    _HOLD_BACK(gate_client(), [keys.held_back()], [value for change in changes.items() for value in change])


@guarded
def stream_orders(item: int) -> list[AdmittedOrder]:
    """Every order in the stream, claimed or not."""
    found: list[AdmittedOrder] = []
    start = "-"
    while page := gate_client().xrange(keys.admitted(item), min=start, count=_STREAM_PAGE):
        found += [order for _, order in _parse(page).entries]
        start = "(" + str(page[-1][0])
    return found


@guarded
def may_be_claimed(order: AdmittedOrder) -> bool:
    """Whether somebody may have taken the order to the ledger; an order that nobody has taken is surely still queued."""
    groups = gate_client().xinfo_groups(keys.admitted(order.item))
    last = next((str(group["last-delivered-id"]) for group in groups if group["name"] == _GROUP), "0-0")
    return order.at // 1000 <= int(last.partition("-")[0])  # an entry's id begins with the milliseconds of its admission
