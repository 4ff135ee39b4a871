"""Read the gate's current state of orders, customers and items."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from json import loads
from uuid import UUID

from flashsale.core.lua import Script
from flashsale.core.redis_client import gate_client
from inventory.admission import keys
from inventory.admission.admitted import AdmittedOrder, ItemTerms, read
from inventory.admission.gate.calls import LUA, WHOLE, guarded
from inventory.admission.gate.decided import fields

_INSPECT = Script(LUA / "inspect-6.lua", parts=[WHOLE])
_OF_A_GATE = (keys.meta, keys.stock, keys.held, keys.buyers, keys.queued, keys.admitted)
# Fields that every release writes, so that each release accepts the other's gates as whole.
_FIELDS = ("state", "opens_at", "closes_at", "sku", "price", "currency", "per_customer", "backlog", "pace", "life", "sold")


@dataclass(frozen=True, slots=True)
class Sight:
    """The gate's state of one order. ``is_whole``: the gate exists and is not being rebuilt, so what it lacks does not exist.

    An order has a hold from its admission until the ledger's final decision reaches the gate.
    """

    queued: AdmittedOrder | None
    is_held: bool
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """The gate's state of a customer for one item. ``may_buy``: units, or None if unknown."""

    ticket: str | None
    may_buy: int | None
    queued: list[AdmittedOrder]


@guarded
def queued_of(items: Sequence[int], customer: int) -> list[AdmittedOrder]:
    """The customer's orders of these items that have no row yet and that this release can read. One round trip."""
    pipe = gate_client().pipeline(transaction=False)
    for item in items:
        pipe.hget(keys.queued(item), str(customer))
    return [order for lines in pipe.execute() for order in _readable(lines)]


@guarded
def standings(items: Sequence[int], customer: int) -> dict[int, Standing]:
    """The gate's state of a customer for each of these items. One round trip."""
    pipe = gate_client().pipeline(transaction=False)
    for item in items:
        pipe.hget(keys.tickets(item), str(customer))
        pipe.hget(keys.buyers(item), str(customer))
        pipe.hmget(keys.meta(item), "per_customer", "allocated", "rebuilding")
        pipe.hget(keys.queued(item), str(customer))
    answers = pipe.execute()
    found = {}
    for item, (ticket, units, (limit, allocated, rebuilding), lines) in zip(
        items, zip(*4 * [iter(answers)], strict=True), strict=True
    ):
        is_known = limit is not None and allocated is not None and rebuilding is None
        may_buy = max(0, int(limit) - int(units or 0)) if is_known else None
        found[item] = Standing(ticket, may_buy, _readable(lines))
    return found


def _readable(lines: str | None) -> list[AdmittedOrder]:
    """Parse entries. Entries that this release cannot read are skipped."""
    found = []
    for line in filter(None, (lines or "").split("\n")):
        with suppress(ValueError):
            order = read(loads(line))
            found += [order] if order is not None else []
    return found


@guarded
def look_for(item: int, customer: int, order_id: UUID) -> Sight:
    """The gate's current state of an order."""
    pipe = gate_client().pipeline(transaction=True)
    pipe.hget(keys.queued(item), str(customer))
    pipe.hexists(keys.held(item), str(order_id))
    pipe.hmget(keys.meta(item), "allocated", "rebuilding")
    lines, is_held, (allocated, rebuilding) = pipe.execute()
    queued = next((order for order in _readable(lines) if order.id == order_id), None)
    return Sight(queued, bool(is_held), is_whole=allocated is not None and rebuilding is None)


@guarded
def stocks(items: Sequence[int]) -> dict[int, int | None]:
    """item -> units left, or None if the gate is missing. One round trip."""
    values = gate_client().mget([keys.stock(item) for item in items]) if items else []
    return {item: None if value is None else int(value) for item, value in zip(items, values, strict=True)}


@guarded
def open_stocks(items: Sequence[int]) -> dict[int, int | None]:
    """item -> units left, or None if the gate is missing or being rebuilt and admits nothing. Three round trips."""
    present = versions(items)
    return {item: units if present[item] else None for item, units in stocks(items).items()}


@guarded
def versions(items: Sequence[int]) -> dict[int, tuple[int, int] | None]:
    """item -> version and allocated units, or None if the gate is incomplete or being rebuilt. Two round trips."""
    answers = _INSPECT.each(gate_client(), [([name(item) for name in _OF_A_GATE], _FIELDS) for item in items])
    return {item: (int(seen[0]), int(seen[1])) if seen else None for item, seen in zip(items, answers, strict=True)}


@guarded
def wrong_terms(terms: ItemTerms) -> list[str]:
    """The fields in which the gate's terms differ from these, although their version is the same."""
    values = fields(terms)
    wanted = dict(zip(map(str, values[::2]), map(str, values[1::2]), strict=True))
    del wanted["backlog"]  # a setting of the process that wrote the terms
    version, rebuilding, *seen = gate_client().hmget(keys.meta(terms.item), "version", "rebuilding", *wanted)
    if version != str(terms.version) or rebuilding:
        return []
    found = dict(zip(wanted, seen, strict=True))
    if not str(found["terms"]).startswith(f"{version} "):  # written by a process that does not number terms
        del found["terms"]
    return [name for name, value in found.items() if value != wanted[name] and not _is_same_price(name, value, wanted[name])]


def _is_same_price(name: str, one: object, other: str) -> bool:
    """Compare numbers. Releases may write the same number with more or fewer zeros."""
    try:
        return name == "price" and Decimal(str(one)) == Decimal(other)
    except InvalidOperation:
        return False


@guarded
def is_rebuilding(item: int) -> bool:
    """Whether a rebuild is in progress."""
    return bool(gate_client().hexists(keys.meta(item), "rebuilding"))
