"""Tells the gate what the ledger has decided. The only way units get back on sale."""

import logging
from collections.abc import Sequence
from uuid import UUID

from celery import shared_task

from flashsale.core.lock import LockHeld
from inventory import selectors
from inventory.admission import gate
from inventory.admission.codes import EffectCode
from orders import services
from orders.models import GateEffect
from tasks.rebuild import Why, rebuild_gate
from tasks.retry import Step

logger = logging.getLogger(__name__)
_LIMIT = 1000


@shared_task(base=Step, name="tasks.apply_effects")
def apply_effects() -> None:
    """Empty the outbox of effects. May run twice and at once."""
    apply()


def apply() -> int:
    """Apply waiting effects, oldest first; how many the gate has taken. May run twice and at once.

    Whoever deletes the hold acts, so an effect applied twice counts once. An effect that the gate cannot take now (missing
    or being rebuilt) stays for the next sweep; one for a gate that is gone for good is dropped.

    Raises:
        GateUnavailable: Redis is away; all of it stays.
    """
    total = 0
    for (item, kind), effects in services.pending_effects(_LIMIT).items():
        code = _apply(item, kind, [order for _, order in effects])
        if code is EffectCode.DONE or (code is EffectCode.GATE_MISSING and item not in selectors.watched_items()):
            services.forget_effects(effect for effect, _ in effects)
            total += len(effects)
    return total


def _apply(item: int, kind: str, orders: Sequence[UUID]) -> EffectCode:
    if kind == GateEffect.Kind.SETTLE:
        return gate.settle(item, orders)
    if kind == GateEffect.Kind.RELEASE:
        return gate.release(item, orders)
    if item not in selectors.watched_items():
        return EffectCode.GATE_MISSING
    try:
        rebuild_gate(item, why=Why(f"gate was wrong about {len(orders)} orders, {orders[0]} among them"))
    except LockHeld:
        return EffectCode.REBUILDING  # that one may have read the ledger before these orders were in it
    return EffectCode.DONE
