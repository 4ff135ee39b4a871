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

_LIMIT = 1000


@shared_task(base=Step, name="tasks.apply_effects")
def apply_effects() -> None:
    """Empty the outbox of effects. May run twice and at once."""
    apply()


def apply() -> int:
    """Apply all waiting effects, oldest first; how many the gate has taken. May run twice and at once: what another process
    is at is left to it.

    Whoever deletes the hold acts, so an effect applied twice counts once. An effect that the gate cannot take now (missing
    or being rebuilt) stays for the next sweep; one for a gate that is gone for good is dropped.

    Raises:
        Unavailable: Redis is away; all of it stays.
    """
    total, put_off = 0, set[int]()
    while True:
        with transaction.atomic():  # the rows stay ours while the gate is told
            effects = services.lock_effects(_LIMIT, put_off)
            told = [effect for (item, kind), some in effects.items() for effect in _tell(item, kind, some, put_off)]
            services.forget_effects(told)
        total += len(told)
        for (item, kind), some in effects.items():
            if kind == GateEffect.Kind.REBUILD and item not in put_off:
                total += _rebuild(item, some, put_off)
        if not effects:
            return total


def _tell(item: int, kind: str, effects: list[tuple[int, UUID]], put_off: set[int]) -> list[int]:
    """The effects that need not be told again."""
    if kind == GateEffect.Kind.REBUILD:
        return []
    orders = [order for _, order in effects]
    if kind == GateEffect.Kind.SETTLE:
        code = gate.settle(item, orders)
    else:
        code = gate.release(item, orders, left_unpaid=kind == GateEffect.Kind.EXPIRED)
    if code is EffectCode.DONE or (code is EffectCode.GATE_MISSING and not selectors.is_watched(item)):
        return [effect for effect, _ in effects]
    put_off.add(item)
    return []


def _rebuild(item: int, effects: list[tuple[int, UUID]], put_off: set[int]) -> int:
    """Outside the transaction that found the effects: a rebuild reads the ledger in a snapshot of its own."""
    try:
        if selectors.is_watched(item):
            rebuild_gate(
                item, why=Why(f"gate was wrong about, or cannot be told of, {len(effects)} orders, {effects[0][1]} among them")
            )
    except LockHeld:  # that one may have read the ledger before these orders were in it
        put_off.add(item)
        return 0
    services.forget_effects(effect for effect, _ in effects)
    return len(effects)
