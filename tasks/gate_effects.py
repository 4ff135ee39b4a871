"""Tells the gate what the ledger has decided. The only way units get back on sale."""

from uuid import UUID

from celery import shared_task
from django.db import transaction

from flashsale.core.lock import LockHeld
from inventory import selectors
from inventory.admission import gate
from inventory.admission.codes import EffectCode
from orders import services
from orders.models import GateEffect
from tasks.rebuild import Why, rebuild_gate
from tasks.retry import Step

_LIMIT = 100  # rows, each of up to 500 orders
_ORDERS = 1000  # in one script


@shared_task(base=Step, name="tasks.apply_effects")
def apply_effects() -> None:
    """Empty the outbox of effects. May run twice and at once."""
    apply()


def apply() -> int:
    """Apply all waiting effects, oldest first; how many orders the gate has learnt of. May run twice and at once: what another
    process is at is left to it.

    Whoever deletes the hold acts, so an effect applied twice counts once. An effect that the gate cannot take now (missing
    or being rebuilt) stays for the next sweep; one for a gate that is gone for good is dropped.

    Raises:
        Unavailable: Redis is away; all of it stays.
    """
    total, put_off = 0, set[int]()
    while True:
        with transaction.atomic():  # the rows stay ours while the gate is told
            effects = services.lock_effects(_LIMIT, put_off)
            told = [effect for effect in effects if effect.kind != GateEffect.Kind.REBUILD and _tell(effect, put_off)]
            services.forget_effects(told)
        total += sum(len(effect.orders) for effect in told)
        for effect in effects:
            if effect.kind == GateEffect.Kind.REBUILD and effect.item not in put_off:
                total += _rebuild(effect, put_off)
        if max(_rows(effects)) < _LIMIT:
            return total


def _rows(effects: list[services.Effect]) -> tuple[int, int]:
    """How many rows of each table these come from."""
    return sum(len(effect.batches) for effect in effects), sum(len(effect.singles) for effect in effects)


def _tell(effect: services.Effect, put_off: set[int]) -> bool:
    """Whether it need not be told again. A part of it may have been told already, which counts once."""
    for first in range(0, len(effect.orders), _ORDERS):
        code = _say(effect, effect.orders[first : first + _ORDERS])
        if code is EffectCode.GATE_MISSING and not selectors.is_watched(effect.item):
            return True
        if code is not EffectCode.DONE:
            put_off.add(effect.item)
            return False
    return True


def _say(effect: services.Effect, orders: list[UUID]) -> EffectCode:
    if effect.kind == GateEffect.Kind.SETTLE:
        return gate.settle(effect.item, orders)
    return gate.release(effect.item, orders, left_unpaid=effect.kind == GateEffect.Kind.EXPIRED)


def _rebuild(effect: services.Effect, put_off: set[int]) -> int:
    """Outside the transaction that found the effect: a rebuild reads the ledger in a snapshot of its own."""
    orders = effect.orders
    try:
        if selectors.is_watched(effect.item):
            why = f"gate was wrong about, or cannot be told of, {len(orders)} orders, {orders[0]} among them"
            rebuild_gate(effect.item, why=Why(why))
    except LockHeld:  # that one may have read the ledger before these orders were in it
        put_off.add(effect.item)
        return 0
    services.forget_effects([effect])
    return len(orders)
