"""Apply the ledger's decisions to the gate: settled and released orders, new terms, ended items."""

from collections.abc import Iterable
from uuid import UUID

from django.conf import settings

from flashsale.core.lua import Script
from flashsale.core.redis_client import gate_client
from inventory.admission import keys
from inventory.admission.admitted import ItemTerms
from inventory.admission.codes import EffectCode
from inventory.admission.gate.calls import LUA, guarded
from inventory.admission.gate.stream import UNQUEUE

_SETTLE = Script(LUA / "settle-2.lua")
_RELEASE = Script(LUA / "release-6.lua", parts=[UNQUEUE])
_CONFIGURE = Script(LUA / "configure-2.lua")
_WITHHOLD = Script(LUA / "withhold-2.lua")
_LASTING = (
    keys.meta,
    keys.stock,
    keys.buyers,
    keys.unpaid,
    keys.held,
    keys.queued,
    keys.admitted,
    keys.line,
    keys.seen,
    keys.called,
    keys.kept,
    keys.tickets,
    keys.turns,
)


@guarded
def settle(item: int, orders: Iterable[UUID]) -> EffectCode:
    """Count the holds of paid orders as sold."""
    return EffectCode(_SETTLE(gate_client(), [keys.meta(item), keys.held(item)], [str(order) for order in orders]))


@guarded
def release(item: int, orders: Iterable[UUID], *, left_unpaid: bool = False) -> EffectCode:
    """Release holds. Their orders are not shown as queued any more.

    Args:
        left_unpaid: orders left unpaid. A customer with ``UNPAID_ORDERS_PER_ITEM`` of them for an item is refused.
    """
    names = [keys.meta(item), keys.stock(item), keys.held(item), keys.buyers(item), keys.queued(item), keys.unpaid(item)]
    return EffectCode(_RELEASE(gate_client(), names, [int(left_unpaid), *map(str, orders)]))


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
        "terms",  # valid for this version only: a release that does not know this field invalidates it by raising the version
        f"{terms.version} {terms.terms_version}",
    ]


@guarded
def configure(terms: ItemTerms, seen: tuple[int, int]) -> EffectCode:
    """Write new terms to an open gate, unless it has changed since it was read.

    Args:
        seen: version and allocated units that ``versions`` returned before the terms were read.
    """
    names = [keys.meta(terms.item), keys.stock(terms.item)]
    return EffectCode(_CONFIGURE(gate_client(), names, [terms.version, terms.allocated, *seen, *fields(terms)]))


@guarded
def withhold(item: int, units: int) -> EffectCode:
    """Take units off sale before the ledger lowers its allocation. Not idempotent. ``configure`` corrects it."""
    return EffectCode(_WITHHOLD(gate_client(), [keys.meta(item), keys.stock(item)], [units]))


@guarded
def forget(items: Iterable[int]) -> None:
    """Delete the keys of ended or deleted items. Receipts and tokens expire by themselves."""
    pipe = gate_client().pipeline(transaction=False)
    for item in items:
        pipe.unlink(*(name(item) for name in _LASTING))
        pipe.srem(keys.gates(), item)
    pipe.execute()


@guarded
def remembered() -> list[int]:
    """The items that have or have had a gate."""
    return [int(item) for item in gate_client().smembers(keys.gates())]


@guarded
def remember(items: Iterable[int]) -> None:
    """Record that these items have a gate or are about to get one, so that a deleted item's keys can be found."""
    if members := list(items):
        gate_client().sadd(keys.gates(), *members)
