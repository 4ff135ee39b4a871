"""Poisoned orders: orders that PostgreSQL cannot store.

An order whose own values can never be stored is rejected at once; staff decide about the others. An order is rejected only on
evidence about that order (``services.can_never_fit``), never because of an exception in our own code: another release may be
able to store it. A missing foreign key may be repaired, for example by restoring a customer.
"""

import json
import logging
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction

from flashsale.core.clock import now
from flashsale.core.errors import Refused
from flashsale.core.ids import item_of_order, made_at
from inventory.admission import gate
from inventory.admission.admitted import envelope
from inventory.errors import GateMissing, GateUnavailable
from orders import holds, services
from tasks.models import DeadLetter
from tasks.repair import dead_letters

logger = logging.getLogger(__name__)
_ID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class NotOneOrder(Refused):
    """This dead letter is not about a single order. Run it again, or leave its orders to the sweeps."""


class Poisoned(NamedTuple):
    """A poisoned order. ``customer`` is 0 if unknown."""

    id: UUID
    customer: int
    item: int


def end(task: str, args: list[Any], error: Exception, order: Poisoned) -> None:
    """Reject an order that can never be stored, and write a closed dead letter about it. May run twice."""
    _reject(order)
    dead_letters.dead_letter(task, args, error, attempts=1, ended_by=task)


def _reject(order: Poisoned, actor: str = "") -> bool:
    is_rejected = services.reject(order.id, order.customer, order.item, admitted_at=_came_at(order.id), actor=actor)
    logger.warning("poisoned order", extra={"event": "order_poisoned", "order_id": str(order.id), "rejected": is_rejected})
    return is_rejected


def _came_at(order_id: UUID) -> datetime:
    try:
        return made_at(order_id)
    except OverflowError:  # not an order id of ours
        return now()


def stranded(item: int) -> list[Poisoned]:
    """Holds that have no order: their stream entry is gone or unreadable.

    Raises:
        GateUnavailable, GateMissing: the gate cannot be read now.
    """
    seen = gate.snapshot(item)  # read gate, stream, PostgreSQL in this order: an order that moves is found in the next one
    if seen is None or seen.rebuilding:
        raise GateMissing
    left = seen.held.keys() - {order.id for order in gate.streamed(item)}
    left -= holds.known_ids(left)
    return [Poisoned(pk, seen.held[pk][0], item) for pk in sorted(left)]


def dead_letter_unreadable(item: int, lines: Sequence[tuple[str, str]]) -> None:
    """Move stream entries without a readable order to dead letters. Only staff reject their orders."""
    lost = _stranded_if_known(item) if lines else []
    for entry_id, raw in lines:
        is_ended = bool(_ended_before(item, raw, lost))
        ended_by = "tasks.dispatch" if is_ended else ""
        error = ValueError("unreadable stream entry")
        if dead_letters.dead_letter("tasks.dispatch", [item, raw], error, attempts=1, ended_by=ended_by):
            gate.drop(item, [entry_id])


def _stranded_if_known(item: int) -> list[Poisoned] | None:
    try:
        return stranded(item)
    except (GateUnavailable, GateMissing):
        return None


def _ended_before(item: int, raw: str, lost: list[Poisoned] | None) -> list[Poisoned]:
    """Orders named by the entry that were rejected already, if no hold without an order is left.

    The process that rejected them may have died before it removed the entry from the stream.
    """
    return [] if lost or lost is None else [Poisoned(pk, 0, item) for pk in holds.written_off(map(UUID, _ID.findall(raw)))]


def reject(letter: DeadLetter, actor: str) -> list[UUID]:
    """Reject the order of an open letter and close the letter, in one transaction. May run twice, and while the letter is run
    again: an order that PostgreSQL has taken over in the meantime is not changed.

    For an unreadable stream entry: rejects holds that have no order. If the entry names an order, only that one; otherwise all
    that no other letter names.

    Returns:
        The orders that were rejected.

    Raises:
        NotOneOrder, GateUnavailable, GateMissing: nothing was changed.
    """
    with transaction.atomic():
        if not DeadLetter.objects.select_for_update().filter(pk=letter.pk, resolved_at=None).exists():
            return []
        rejected = [order.id for order in _orders_of(letter) if _reject(order, actor)]
        dead_letters.close(letter, actor)
    return rejected


def _orders_of(letter: DeadLetter) -> list[Poisoned]:
    match letter.task, letter.args:
        case "tasks.create_orders", [[str(pk)]]:
            return [Poisoned(UUID(pk), 0, item_of_order(UUID(pk)))]
        case "tasks.deduct_inventory", [int(item), [[_, dict(payload)]]]:
            order = envelope(payload, item)
            return [Poisoned(order.id, order.customer, item)] if order else []
        case "tasks.dispatch", [int(item), str(raw)]:
            lost = stranded(item)
            if named := [order for order in lost if str(order.id) in raw]:
                return named
            others = DeadLetter.objects.filter(resolved_at=None).exclude(pk=letter.pk).values_list("args", flat=True)
            told = [json.dumps(args) for args in others]
            return [order for order in lost if not any(str(order.id) in args for args in told)]
    raise NotOneOrder
