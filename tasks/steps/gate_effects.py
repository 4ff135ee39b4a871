"""Apply PostgreSQL's decisions to the gate. This is the only way units go back on sale."""

from uuid import UUID

from celery import shared_task
from django.db import transaction

from flashsale.core.lock import LockHeld
from inventory import selectors
from inventory.admission import gate
from inventory.admission.codes import EffectCode
from orders import services
from orders.models import GateEffect
from tasks.repair.rebuild import Why, rebuild_gate
from tasks.worker.retry import Step

_LIMIT = 100  # rows per run, each with up to 500 orders
_ORDERS = 1000  # orders per script call


@shared_task(base=Step, name="tasks.apply_effects")
def apply_effects() -> None:
    """Apply all waiting effects. May run twice and concurrently."""
    apply()


def apply() -> int:
    """Apply all waiting effects, oldest first. Returns the number of orders. Safe to run twice and concurrently: locked rows
    are skipped.

    Only the call that deletes the hold acts, so an effect that is applied twice counts once. If the gate is missing or being
    rebuilt, its effects stay for the next sweep. Effects for a gate that was deleted for good are dropped.

    Raises:
        Unavailable: Redis cannot be reached. All effects stay.
    """
    total, put_off = 0, set[int]()
    while True:
        with transaction.atomic():  # keeps the rows locked while the gate is updated
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
    """Apply an effect. Returns whether it is done. A partly applied effect can be repeated safely."""
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
    """Rebuild the gate. Runs outside the transaction that read the effect, because a rebuild needs its own snapshot."""
    orders = effect.orders
    try:
        if selectors.is_watched(effect.item):
            why = f"gate had wrong data of {len(orders)} orders, for example {orders[0]}"
            rebuild_gate(effect.item, why=Why(why))
    except LockHeld:  # the other rebuild may have read PostgreSQL before these orders were in it
        put_off.add(effect.item)
        return 0
    services.forget_effects([effect])
    return len(orders)
