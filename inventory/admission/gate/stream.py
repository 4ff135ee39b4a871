"""The stream of admitted orders: waiting, claimed, acknowledged.

An order that this release cannot read stays in the stream for a release that can. It is pending under the consumer ``unread``,
which does not count as in flight, and any process that can read it may claim it.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from json import loads
from typing import Any, Literal, NamedTuple
from uuid import UUID

import redis

from flashsale.core.lua import Script
from flashsale.core.redis_client import gate_client
from inventory.admission import keys
from inventory.admission.admitted import AdmittedOrder, Streamed, envelope, read
from inventory.admission.gate.calls import LUA, guarded

UNQUEUE = LUA / "unqueue.lua"
_CLAIM = Script(LUA / "claim-2.lua")
_MAY_START = Script(LUA / "may_start-2.lua")
_ACK = Script(LUA / "ack-3.lua", parts=[UNQUEUE])
_HOLD_BACK = Script(LUA / "hold_back-1.lua")
_GROUP = "ledger"
_UNREAD = "unread"  # the consumer of entries that wait for another release; claim-2.lua knows it too
_CLAIMABLE_MS = 3_000  # idle time set on an unread entry, so that another process may claim it at once
_STREAM_PAGE = 1_000
_MOST_PAGES = 20  # pending entries that one reclaim looks at
_resume_at: dict[int, str] = {}  # item -> where the next reclaim continues, if the last one did not reach the end

Entry = tuple[str, AdmittedOrder]
Turn = Literal["served", "refused", "done"]


@dataclass(frozen=True, slots=True)
class Unread:
    """An entry that this release cannot read. ``idle_ms``: time since it was last claimed."""

    entry_id: str
    order: Streamed
    payload: dict[str, Any]
    idle_ms: int = 0


@dataclass(frozen=True, slots=True)
class Claim:
    """Entries claimed from the stream. ``broken``: entries without a recognisable order. ``unread``: left for another release.

    ``left``: ids of claimed entries that another process had left. ``join_us``: nothing was claimed, because more orders shall
    join the batch. The caller sends a wake-up with this delay in microseconds, when the next batch may start.
    """

    entries: list[Entry]
    broken: list[tuple[str, str]]
    unread: list[Unread] = field(default_factory=list)
    left: set[str] = field(default_factory=set)
    join_us: int = 0


def _parse(item: int, raw: Iterable[tuple[str, Mapping[str, str]] | Sequence[Any]]) -> Claim:
    found = Claim([], [])
    for entry_id, fields in raw:
        values = fields if isinstance(fields, Mapping) else dict(zip(fields[::2], fields[1::2], strict=True))
        try:
            payload = loads(values["o"])
        except (KeyError, TypeError, ValueError, RecursionError):
            payload = None
        if (order := read(payload)) is not None:
            found.entries.append((entry_id, order))
        elif (named := envelope(payload, item)) is not None:
            found.unread.append(Unread(entry_id, named, payload))
        else:
            found.broken.append((entry_id, str(values)))
    return found


@guarded
def claim(item: int, *, consumer: str, limit: int, in_flight: int, linger_us: int = 0, full: int = 0) -> Claim:
    """Claim up to ``limit`` waiting orders, unless ``in_flight`` or more are in progress, or more orders shall join them.

    Args:
        linger_us: minimum time between the starts of two batches, in microseconds. For ten times as long, the next batch also
            waits for :func:`end_batch` or, after a claim by the previous release, for an acknowledgement.
        full: a batch of this many orders starts without waiting for more.
    """
    raw = _CLAIM(gate_client(), [keys.meta(item), keys.admitted(item)], [consumer, limit, in_flight, linger_us, full])
    if isinstance(raw, int):
        return Claim([], [], join_us=raw)
    found = _parse(item, raw)
    leave(item, [each.entry_id for each in found.unread])
    return found


@guarded
def may_start(item: int, *, linger_us: int, full: int) -> int:
    """0 if the batch that ``claim`` postponed may start, otherwise the microseconds until the caller must ask again."""
    return int(_MAY_START(gate_client(), [keys.meta(item), keys.admitted(item)], [linger_us, full]))


@guarded
def end_batch(item: int) -> None:
    """Record that the chain of a batch has ended, so that the next batch may start."""
    gate_client().hdel(keys.meta(item), "under_way")


@guarded
def leave(item: int, entry_ids: Sequence[str], *, idle_ms: int = _CLAIMABLE_MS, unless_claimed_within_ms: int = 0) -> set[str]:
    """Leave claimed entries to another process, perhaps of another release. May run twice.

    Args:
        idle_ms: the idle time to set, in milliseconds. A reclaim takes entries that are idle for 3 s.
        unless_claimed_within_ms: entries that were claimed more recently are skipped.

    Returns:
        The entries that are in the stream, pending, and now left.
    """
    if not entry_ids:
        return set()
    ids: list[Any] = list(entry_ids)
    try:
        left = gate_client().xclaim(
            keys.admitted(item), _GROUP, _UNREAD, unless_claimed_within_ms, ids, idle=idle_ms, justid=True
        )
    except redis.exceptions.ResponseError as error:
        if "NOGROUP" in str(error):
            return set()
        raise
    return {str(entry_id) for entry_id in left}


@guarded
def steal(item: int, *, consumer: str, idle_ms: int, limit: int) -> Claim:
    """Reclaim orders that have been idle for ``idle_ms`` milliseconds, the oldest first.

    Entries are read before they are claimed. Entries that this release cannot read are not claimed and block no others.
    """
    taken = Claim([], [])
    start = _resume_at.pop(item, "-")
    for _ in range(_MOST_PAGES):
        page = _pending(item, start, idle_ms, limit)
        _take_over(item, page, consumer, idle_ms, limit, taken)
        if len(page) < limit:
            return taken
        if len(taken.entries) >= limit:
            return taken
        start = "(" + list(page)[-1]
    _resume_at[item] = start
    return taken


class _Idle(NamedTuple):
    consumer: str
    ms: int


def _pending(item: int, start: str, idle_ms: int, count: int) -> dict[str, _Idle]:
    """entry id -> consumer and idle time, for entries idle for at least ``idle_ms`` milliseconds."""
    try:
        rows = gate_client().xpending_range(keys.admitted(item), _GROUP, start, "+", count, idle=idle_ms)
    except redis.exceptions.ResponseError as error:
        if "NOGROUP" in str(error):
            return {}
        raise
    return {str(row["message_id"]): _Idle(str(row["consumer"]), int(row["time_since_delivered"])) for row in rows}


def _take_over(item: int, idle: Mapping[str, _Idle], consumer: str, idle_ms: int, limit: int, taken: Claim) -> None:
    if not idle:
        return
    pipe = gate_client().pipeline(transaction=False)
    for entry_id in idle:
        pipe.xrange(keys.admitted(item), entry_id, entry_id)
    lines = [line for found in pipe.execute() for line in found]
    seen = _parse(item, lines)
    room = limit - len(taken.entries)
    wanted: list[Any] = [*(entry_id for entry_id, _ in seen.entries[:room]), *(entry_id for entry_id, _ in seen.broken)]
    wanted += idle.keys() - {
        entry_id for entry_id, _ in lines
    }  # deleted entries: claiming them removes them from the pending list
    if wanted:
        claimed = gate_client().xclaim(keys.admitted(item), _GROUP, consumer, idle_ms, wanted, justid=True)
        got = {str(entry_id) for entry_id in claimed}
        taken.entries.extend(entry for entry in seen.entries if entry[0] in got)
        taken.broken.extend(entry for entry in seen.broken if entry[0] in got)
        taken.left.update(entry_id for entry_id in got if idle[entry_id].consumer == _UNREAD)
    taken.unread.extend(Unread(one.entry_id, one.order, one.payload, idle[one.entry_id].ms) for one in seen.unread)


@guarded
def ack(item: int, entries: Sequence[Entry]) -> bool:
    """Acknowledge orders that the ledger has recorded. True if more wait and the caller must wake the dispatcher."""
    return _forget(item, [(entry_id, order.customer, order.id) for entry_id, order in entries])


@guarded
def drop_decided(item: int, entries: Sequence[Unread]) -> None:
    """Delete unread entries whose orders the ledger has decided."""
    _forget(item, [(entry.entry_id, entry.order.customer, entry.order.id) for entry in entries])


def _forget(item: int, entries: Iterable[tuple[str, int, UUID]]) -> bool:
    args = [value for entry_id, customer, order_id in entries for value in (entry_id, customer, str(order_id))]
    return bool(_ACK(gate_client(), [keys.meta(item), keys.admitted(item), keys.queued(item)], args))


@guarded
def drop(item: int, entry_ids: Sequence[str]) -> None:
    """Delete unreadable entries."""
    args = [value for entry_id in entry_ids for value in (entry_id, "", "")]
    _ACK(gate_client(), [keys.meta(item), keys.admitted(item), keys.queued(item)], args)


class Backlog(NamedTuple):
    """Number of unclaimed orders in an item's stream, and of claimed ones that are not acknowledged."""

    unclaimed: int
    pending: int


class Turns(NamedTuple):
    """The backlog of each item, and the items held back by the pace."""

    waiting: dict[int, Backlog]
    held_back: list[int]


@guarded
def waiting(items: Sequence[int]) -> dict[int, Backlog]:
    """item -> number of unclaimed and of pending orders, including unread ones. One round trip."""
    pipe = gate_client().pipeline(transaction=False)
    _ask_waiting(pipe, items)
    found = _counts(items, pipe.execute(raise_on_error=False))
    return {item: Backlog(unclaimed, pending) for item, (unclaimed, pending, _) in found.items()}


@guarded
def turns(items: Sequence[int], *, most: int) -> Turns:
    """The result of :func:`on_their_way` for these items, and up to ``most`` held-back items, least recently served first.

    One round trip.
    """
    pipe = gate_client().pipeline(transaction=False)
    _ask_waiting(pipe, items)
    pipe.zrange(keys.held_back(), 0, most - 1)
    *answers, held_back = pipe.execute(raise_on_error=False)
    return Turns(_without_unread(_counts(items, answers)), [int(item) for item in held_back])


@guarded
def on_their_way(items: Sequence[int]) -> dict[int, Backlog]:
    """item -> number of unclaimed orders, and of orders between claim and commit (pending, not unread). One round trip."""
    pipe = gate_client().pipeline(transaction=False)
    _ask_waiting(pipe, items)
    return _without_unread(_counts(items, pipe.execute(raise_on_error=False)))


def _without_unread(found: Mapping[int, tuple[int, int, int]]) -> dict[int, Backlog]:
    return {item: Backlog(unclaimed, pending - unread) for item, (unclaimed, pending, unread) in found.items()}


@guarded
def by_oldest_unclaimed(items: Collection[int]) -> list[int]:
    """The items with unclaimed orders, the longest waiting first. Two round trips."""
    pipe = gate_client().pipeline(transaction=False)
    for item in items:
        pipe.xinfo_groups(keys.admitted(item))
    groups = dict(zip(items, pipe.execute(raise_on_error=False), strict=True))
    for item in items:
        pipe.xrange(keys.admitted(item), f"({_last_delivered(groups[item])}", count=1)
    found = zip(items, pipe.execute(raise_on_error=False), strict=True)
    firsts = {item: _order_of(lines[0][0]) for item, lines in found if isinstance(lines, list) and lines}
    return sorted(firsts, key=lambda item: (firsts[item], item))


def _last_delivered(groups: Any) -> str:
    known = groups if isinstance(groups, list) else []  # an error means that there is no stream
    return next((str(group["last-delivered-id"]) for group in known if group["name"] == _GROUP), "0-0")


@guarded
def by_oldest_pending(items: Collection[int]) -> list[int]:
    """The items with pending orders, the oldest first. One round trip."""
    pipe = gate_client().pipeline(transaction=False)
    for item in items:
        pipe.xpending(keys.admitted(item), _GROUP)
    found = zip(items, pipe.execute(raise_on_error=False), strict=True)
    oldest = {item: _order_of(summary["min"]) for item, summary in found if isinstance(summary, dict) and summary["pending"]}
    return sorted(oldest, key=lambda item: (oldest[item], item))


def _order_of(entry_id: Any) -> tuple[int, int]:
    moment, _, number = str(entry_id).partition("-")
    return int(moment), int(number)


def _ask_waiting(pipe: "redis.client.Pipeline", items: Sequence[int]) -> None:
    for item in items:
        pipe.xlen(keys.admitted(item))
        pipe.xpending(keys.admitted(item), _GROUP)


def _counts(items: Sequence[int], answers: Sequence[Any]) -> dict[int, tuple[int, int, int]]:
    """item -> number of unclaimed, pending and unread orders."""
    found = {}
    for index, item in enumerate(items):
        length, summary = answers[2 * index], answers[2 * index + 1]
        pending = int(summary["pending"]) if isinstance(summary, dict) else 0
        consumers = summary["consumers"] if pending else ()
        unread = sum(int(each["pending"]) for each in consumers if each["name"] == _UNREAD)
        found[item] = int(length) - pending, pending, unread
    return found


@guarded
def wake_once(*, ttl_ms: int) -> bool:
    """True for the first caller within ``ttl_ms`` milliseconds."""
    return bool(gate_client().set(keys.woken(), "1", nx=True, px=ttl_ms))


@guarded
def hold_back(changes: Mapping[int, Turn]) -> None:
    """Record the results of a dispatcher round for these items, in the order in which they were served."""
    _HOLD_BACK(gate_client(), [keys.held_back()], [value for change in changes.items() for value in change])


@guarded
def stream_orders(item: int) -> list[AdmittedOrder]:
    """Every order in the stream that this release can read, claimed or not."""
    return [order for page in _pages(item) for _, order in page.entries]


@guarded
def streamed(item: int) -> list[Streamed]:
    """Every order in the stream, claimed or not, whether or not this release can read it."""
    found: list[Streamed] = []
    for page in _pages(item):
        found += [Streamed(order.id, item, order.customer, order.units) for _, order in page.entries]
        found += [unread.order for unread in page.unread]
    return found


def _pages(item: int) -> Iterator[Claim]:
    start = "-"
    while page := gate_client().xrange(keys.admitted(item), min=start, count=_STREAM_PAGE):
        yield _parse(item, page)
        start = "(" + str(page[-1][0])


@guarded
def may_be_claimed(order: AdmittedOrder) -> bool:
    """Whether the order may have been claimed. If False, it is certainly still queued."""
    groups = gate_client().xinfo_groups(keys.admitted(order.item))
    last = next((str(group["last-delivered-id"]) for group in groups if group["name"] == _GROUP), "0-0")
    return order.at // 1000 <= int(last.partition("-")[0])  # an entry's id begins with the milliseconds of its admission
