"""Orders that the ledger cannot take: those whose own values can never fit are rejected at once, the others by people.

An order is ended only on evidence about that order (``services.can_never_fit``), never for an exception of our own code: a
process of another release may take it. A foreign key that leads nowhere may be mended (a customer is restored).
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
from tasks import dead_letters
from tasks.models import DeadLetter

logger = logging.getLogger(__name__)
_ID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class NotOneOrder(Refused):
    """This letter does not stand for one order; run it again, or leave its orders to the sweeps."""


class Poisoned(NamedTuple):
    """``customer``: 0 when only the ledger can know."""

    id: UUID
    customer: int
    item: int


def end(task: str, args: list[Any], error: Exception, order: Poisoned) -> None:
    """Reject an order for whose error there is no cure, and tell of it in a closed letter. May run twice."""
    _reject(order)
    dead_letters.bury(task, args, error, attempts=1, ended_by=task)


def _reject(order: Poisoned, actor: str = "") -> bool:
    is_rejected = services.reject(order.id, order.customer, order.item, admitted_at=_came_at(order.id), actor=actor)
    logger.warning("poisoned order", extra={"event": "order_poisoned", "order_id": str(order.id), "rejected": is_rejected})
    return is_rejected


def _came_at(order_id: UUID) -> datetime:
    try:
        return made_at(order_id)
    except OverflowError:  # no id of ours
        return now()


def stranded(item: int) -> list[Poisoned]:
    """Orders that only their hold at the gate knows: what was written of them in the stream is gone, or nobody can read it.

    Raises:
        GateUnavailable, GateMissing: it cannot be known now.
    """
    seen = gate.snapshot(item)  # before the stream, and that before the ledger: an order that moves is found further on
    if seen is None or seen.rebuilding:
        raise GateMissing
    left = seen.held.keys() - {order.id for order in gate.streamed(item)}
    left -= holds.known_ids(left)
    return [Poisoned(pk, seen.held[pk][0], item) for pk in sorted(left)]


def bury_unreadable(item: int, lines: Sequence[tuple[str, str]]) -> None:
    """Lines in which no order can be found leave the stream for dead letters. Staff end their orders, no process does."""
    lost = _stranded_if_known(item) if lines else []
    for entry_id, raw in lines:
        is_ended = bool(_ended_before(item, raw, lost))
        ended_by = "tasks.dispatch" if is_ended else ""
        error = ValueError("unreadable stream entry")
        if dead_letters.bury("tasks.dispatch", [item, raw], error, attempts=1, ended_by=ended_by):
            gate.drop(item, [entry_id])


def _stranded_if_known(item: int) -> list[Poisoned] | None:
    try:
        return stranded(item)
    except (GateUnavailable, GateMissing):
        return None


def _ended_before(item: int, raw: str, lost: list[Poisoned] | None) -> list[Poisoned]:
    """The rejected orders that a line names, where no order is lost that it could stand for: whoever rejected one may have
    died before the line was out of the stream.
    """
    return [] if lost or lost is None else [Poisoned(pk, 0, item) for pk in holds.written_off(map(UUID, _ID.findall(raw)))]


def reject(letter: DeadLetter, actor: str) -> list[UUID]:
    """Reject the order that an open letter holds and close the letter, in one transaction; an order that the ledger has taken
    meanwhile stays as it is. May run twice, and while the letter is run again.

    For a line that nobody can read, this is the order it names, if only its hold at the gate knows it; if it names none, the
    orders that only their hold knows and no other letter names.

    Returns:
        The orders that are rejected now.

    Raises:
        NotOneOrder, GateUnavailable, GateMissing: nothing happened.
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
