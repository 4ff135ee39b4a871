"""The gate: the one place that speaks to Redis about stock. Knows no model.

Every function raises ``GateUnavailable`` when Redis cannot be reached or cannot write, and may run twice.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from json import JSONDecodeError, loads
from pathlib import Path
from typing import Any, Literal, NoReturn, ParamSpec, TypeVar
from uuid import UUID

import redis
from django.conf import settings

from flashsale.core.clock import from_us
from flashsale.core.errors import FlashsaleError, RateLimited
from flashsale.core.ids import new_purchase_token
from flashsale.core.lua import Script
from flashsale.core.redis_client import gate_client
from flashsale.ratelimit.redis_store import TOKEN_BUCKET
from inventory import errors
from inventory.admission import keys
from inventory.admission.admitted import AdmittedOrder, ItemTerms
from inventory.admission.codes import AdmitCode, EffectCode

LUA = Path(__file__).parent / "lua"
CLOSED = LUA / "closed.lua"
_UNQUEUE = LUA / "unqueue.lua"
_PARTS = {"issue": [CLOSED], "admit": [CLOSED, TOKEN_BUCKET], "ack": [_UNQUEUE], "release": [_UNQUEUE]}
_ISSUE, _ADMIT, _CLAIM, _ACK, _SETTLE, _RELEASE, _CONFIGURE, _WITHHOLD, _HOLD_BACK = (
    Script(LUA / f"{name}.lua", parts=_PARTS.get(name.partition("-")[0], []))
    for name in (
        "issue-3",
        "admit-12",
        "claim-2",
        "ack-3",
        "settle-2",
        "release-5",
        "configure-2",
        "withhold-2",
        "hold_back-1",
    )
)
_GROUP = "ledger"
_STREAM_PAGE = 1_000
_LASTING = (
    keys.meta,
    keys.stock,
    keys.buyers,
    keys.held,
    keys.queued,
    keys.admitted,
    keys.line,
    keys.seen,
    keys.called,
    keys.tickets,
    keys.turns,
)

_REFUSALS: dict[AdmitCode, type[FlashsaleError]] = {
    AdmitCode.MISMATCH: errors.IdempotencyMismatch,
    AdmitCode.SEQ_TAKEN: errors.SeqTaken,
    AdmitCode.GATE_MISSING: errors.GateMissing,
    AdmitCode.NOT_OPEN: errors.NotOpen,
    AdmitCode.PAUSED: errors.Paused,
    AdmitCode.ENDED: errors.Ended,
    AdmitCode.TOKEN_INVALID: errors.TokenInvalid,
    AdmitCode.TOKEN_USED: errors.TokenUsed,
    AdmitCode.QUANTITY_OVER: errors.QuantityOver,
    AdmitCode.LIMIT_PER_CUSTOMER: errors.LimitPerCustomer,
    AdmitCode.BUSY: errors.Busy,
    AdmitCode.SOLD_OUT: errors.SoldOut,
    AdmitCode.TICKET_LAPSED: errors.TicketLapsed,
}
_RETRY_AFTER_S = {AdmitCode.GATE_MISSING: 1, AdmitCode.BUSY: 2}

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class IssuedToken:
    token: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Admission:
    """``wake``: nobody has told the dispatcher yet, so the caller must."""

    order_id: UUID
    replayed: bool
    wake: bool
    shadowed: bool = False


Entry = tuple[str, AdmittedOrder]
Turn = Literal["served", "refused", "done"]


@dataclass(frozen=True, slots=True)
class Claim:
    """Entries taken from the stream; ``broken`` are those that nobody can read."""

    entries: list[Entry]
    broken: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Sight:
    """What the gate has of one order. ``is_whole``: it is there and not being rebuilt, so what it lacks it does not know.

    An order is held from its admission on, and while it is in the stream, until the ledger's end of it has reached the gate.
    """

    queued: AdmittedOrder | None
    is_held: bool
    is_whole: bool


@dataclass(frozen=True, slots=True)
class GateSnapshot:
    """One moment of an item's gate."""

    stock: int
    sold: int
    allocated: int
    version: int
    state: str
    rebuilding: bool
    held: dict[UUID, tuple[int, int]]
    buyers: dict[int, int]
    backlog: int


def guarded(function: Callable[P, T]) -> Callable[P, T]:
    """Turns Redis's errors into ``GateUnavailable``."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except redis.RedisError as error:
            raise errors.GateUnavailable(retry_after=1, cause=repr(error)) from error

    return call


def refuse(code: AdmitCode) -> NoReturn:
    """Raises the error of this code."""
    raise _REFUSALS[code](retry_after=_RETRY_AFTER_S[code]) if code in _RETRY_AFTER_S else _REFUSALS[code]()


@guarded
def issue_token(item: int, customer: int) -> IssuedToken:
    """A purchase token for this customer and item, good for ``PURCHASE_TOKEN_TTL_S`` seconds.

    Raises:
        NotOpen, Paused, Ended, SoldOut, GateMissing: nothing was issued.
    """
    token = new_purchase_token(item)
    answer = _ISSUE(
        gate_client(),
        [keys.meta(item), keys.stock(item), keys.token(item, token)],
        [customer, settings.PURCHASE_TOKEN_TTL_S],
    )
    code = AdmitCode(answer[0])
    if code is not AdmitCode.ADMITTED:
        refuse(code)
    return IssuedToken(token, from_us(int(answer[1])))


@guarded
def learn_token(item: int, customer: int, token: str) -> None:
    """Take a token for genuine that another gate has issued, unless it was used here. For a mirror alone."""
    client = gate_client()
    if not client.exists(keys.spent(item, token)):
        client.set(keys.token(item, token), customer, ex=settings.PURCHASE_TOKEN_TTL_S, nx=True)


@guarded
def admit(
    item: int,
    *,
    customer: int,
    sku: str,
    units: int,
    token: str,
    order_id: UUID,
    source: str,
    seq: str,
    digest: str,
    method: str,
    limit: str = "",
    rule: str = "",
) -> Admission:
    """Give or deny units in one round trip; a refusal changes nothing.

    Args:
        item: the item that the token names.
        digest: hexadecimal SHA-256 of the request, to tell a repetition from another request.
        limit: the item's rate as ``redis_store.encoded`` writes a token bucket; empty for none. In units; an order of more
            than the burst is charged the whole burst.
        rule: the name of the rule that the limit belongs to.

    Raises:
        Refused, Invalid: one class for each code of ``AdmitCode``.
    """
    answer = _ADMIT(
        gate_client(),
        [
            keys.meta(item),
            keys.stock(item),
            keys.token(item, token),
            keys.spent(item, token),
            keys.receipt(item, source, seq),
            keys.buyers(item),
            keys.held(item),
            keys.queued(item),
            keys.admitted(item),
            keys.rate(item, rule),
            keys.called(item),
            keys.tickets(item),
        ],
        [
            customer,
            sku,
            units,
            str(order_id),
            digest,
            source,
            seq,
            method,
            settings.RECEIPT_TTL_S,
            settings.PURCHASE_TOKEN_TTL_S,
            item,
            limit,
        ],
    )
    code = AdmitCode(answer[0])
    if code is AdmitCode.RATE_LIMITED:
        raise RateLimited(retry_after=int(answer[1]) / 1_000_000)
    if code not in (AdmitCode.ADMITTED, AdmitCode.REPLAYED):
        refuse(code)
    return Admission(UUID(answer[1]), code is AdmitCode.REPLAYED, bool(answer[2]), shadowed=bool(answer[3]))


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
def wake_once(*, ttl_ms: int) -> bool:
    """True for the first who asks within ``ttl_ms`` milliseconds."""
    return bool(gate_client().set(keys.woken(), "1", nx=True, px=ttl_ms))


@guarded
def hold_back(changes: Mapping[int, Turn]) -> None:
    """Note what became of these items in a round of the dispatcher, in the order in which they had their turns."""
    _HOLD_BACK(gate_client(), [keys.held_back()], [value for change in changes.items() for value in change])


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
def queued_of(items: Sequence[int], customer: int) -> list[AdmittedOrder]:
    """The customer's orders that have no row yet, over these items; one trip."""
    pipe = gate_client().pipeline(transaction=False)
    for item in items:
        pipe.hget(keys.queued(item), str(customer))
    found = [lines for lines in pipe.execute() if lines]
    return [AdmittedOrder.from_payload(loads(line)) for lines in found for line in lines.split("\n")]


@guarded
def look_for(item: int, customer: int, order_id: UUID) -> Sight:
    """What the gate has of an order at this moment."""
    pipe = gate_client().pipeline(transaction=True)
    pipe.hget(keys.queued(item), str(customer))
    pipe.hexists(keys.held(item), str(order_id))
    pipe.hmget(keys.meta(item), "allocated", "rebuilding")
    lines, is_held, (allocated, rebuilding) = pipe.execute()
    orders = [AdmittedOrder.from_payload(loads(line)) for line in (lines or "").split("\n") if line]
    queued = next((order for order in orders if order.id == order_id), None)
    return Sight(queued, bool(is_held), is_whole=allocated is not None and rebuilding is None)


@guarded
def may_be_claimed(order: AdmittedOrder) -> bool:
    """Whether somebody may have taken the order to the ledger; an order that nobody has taken is surely still queued."""
    groups = gate_client().xinfo_groups(keys.admitted(order.item))
    last = next((str(group["last-delivered-id"]) for group in groups if group["name"] == _GROUP), "0-0")
    return order.at // 1000 <= int(last.partition("-")[0])  # an entry's id begins with the milliseconds of its admission


@guarded
def settle(item: int, orders: Iterable[UUID]) -> EffectCode:
    """Count the holds of paid orders as sold."""
    return EffectCode(_SETTLE(gate_client(), [keys.meta(item), keys.held(item)], [str(order) for order in orders]))


@guarded
def release(item: int, orders: Iterable[UUID]) -> EffectCode:
    """Give the units of holds back; their orders are not shown as queued any more."""
    names = [keys.meta(item), keys.stock(item), keys.held(item), keys.buyers(item), keys.queued(item)]
    return EffectCode(_RELEASE(gate_client(), names, [str(order) for order in orders]))


def fields(terms: ItemTerms) -> list[str | int]:
    """An item's terms as fields and values of its meta hash."""
    return [
        "state",
        terms.state,
        "opens_at",
        terms.opens_at_us,
        "closes_at",
        terms.closes_at_us,
        "sku",
        terms.sku,
        "price",
        terms.price,
        "currency",
        terms.currency,
        "per_customer",
        terms.per_customer,
        "backlog",
        settings.BACKLOG_LIMIT,
        "pace",
        terms.pace_us,
        "life",
        terms.life,
    ]


@guarded
def configure(terms: ItemTerms, seen: tuple[int, int]) -> EffectCode:
    """Bring new terms to an open gate, unless it is not any more as it was seen.

    Args:
        seen: version and units allocated that ``versions`` said before the terms were read.
    """
    names = [keys.meta(terms.item), keys.stock(terms.item)]
    return EffectCode(_CONFIGURE(gate_client(), names, [terms.version, terms.allocated, *seen, *fields(terms)]))


@guarded
def withhold(item: int, units: int) -> EffectCode:
    """Take units out of sale before the ledger lowers its allocation. Not to be repeated blindly; configure mends."""
    return EffectCode(_WITHHOLD(gate_client(), [keys.meta(item), keys.stock(item)], [units]))


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
def snapshot(item: int) -> GateSnapshot | None:
    """One moment of the gate, or None when it is missing."""
    pipe = gate_client().pipeline(transaction=True)
    pipe.hgetall(keys.meta(item))
    pipe.get(keys.stock(item))
    pipe.hgetall(keys.held(item))
    pipe.hgetall(keys.buyers(item))
    pipe.xlen(keys.admitted(item))
    meta, stock, held, buyers, backlog = pipe.execute()
    if "allocated" not in meta:
        return None
    holds = {UUID(order): _hold(value) for order, value in held.items()}
    return GateSnapshot(
        stock=int(stock or 0),
        sold=int(meta["sold"]),
        allocated=int(meta["allocated"]),
        version=int(meta["version"]),
        state=meta["state"],
        rebuilding="rebuilding" in meta,
        held=holds,
        buyers={int(customer): int(units) for customer, units in buyers.items()},
        backlog=int(backlog),
    )


@guarded
def stocks(items: Sequence[int]) -> dict[int, int | None]:
    """item -> units left, None where the gate is missing; one trip."""
    values = gate_client().mget([keys.stock(item) for item in items]) if items else []
    return {item: None if value is None else int(value) for item, value in zip(items, values, strict=True)}


@guarded
def open_stocks(items: Sequence[int]) -> dict[int, int | None]:
    """item -> units left, None where the gate is missing or being rebuilt and nothing is admitted; two trips."""
    present = versions(items)
    return {item: units if present[item] else None for item, units in stocks(items).items()}


@guarded
def versions(items: Sequence[int]) -> dict[int, tuple[int, int] | None]:
    """item -> version and units allocated, None where the gate is missing or half rebuilt; one trip."""
    pipe = gate_client().pipeline(transaction=False)
    for item in items:
        pipe.hmget(keys.meta(item), "version", "allocated", "rebuilding")
    answers = pipe.execute()
    return {
        item: None if meta[1] is None or meta[2] else (int(meta[0]), int(meta[1]))
        for item, meta in zip(items, answers, strict=True)
    }


@guarded
def is_rebuilding(item: int) -> bool:
    """Whether a rebuild has begun and not ended."""
    return bool(gate_client().hexists(keys.meta(item), "rebuilding"))


@guarded
def forget(items: Iterable[int]) -> None:
    """Delete the keys of ended items; receipts and tokens expire by themselves."""
    pipe = gate_client().pipeline(transaction=False)
    for item in items:
        pipe.unlink(*(name(item) for name in _LASTING))
    pipe.execute()


def _hold(value: str) -> tuple[int, int]:
    customer, _, units = value.partition(":")
    return int(customer), int(units)
