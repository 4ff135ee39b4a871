"""Orders that the ledger cannot take: those that no trying again can help are rejected at once, the others by people.

A foreign key that leads nowhere may be mended (a customer is restored); a value that does not fit never will.
"""

import json
import logging
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import DataError, IntegrityError, transaction

from flashsale.core.clock import now
from flashsale.core.errors import Refused
from flashsale.core.ids import item_of_order, made_at
from inventory.admission import gate
from inventory.admission.admitted import AdmittedOrder
from inventory.errors import GateMissing, GateUnavailable
from orders import holds, services
from tasks import dead_letters
from tasks.models import DeadLetter

logger = logging.getLogger(__name__)
_ID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CHECK_VIOLATION, _NOT_NULL_VIOLATION = "23514", "23502"


class NotOneOrder(Refused):
    """This letter does not stand for one order; run it again, or leave its orders to the sweeps."""


class Poisoned(NamedTuple):
    """``customer``: 0 when only the ledger can know."""

    id: UUID
    customer: int
    item: int


def end_at_once(task: str, args: list[Any], error: Exception, order: Poisoned) -> bool:
    """Reject an order for whose error there is no cure, and tell of it in a closed letter; False if there may be one."""
    if not _is_final(error):
        return False
    _reject(order)
    dead_letters.bury(task, args, error, attempts=1, ended_by=task)
    return True


def _is_final(error: Exception) -> bool:
    if isinstance(error, IntegrityError):
        return getattr(error.__cause__, "pgcode", None) in (_CHECK_VIOLATION, _NOT_NULL_VIOLATION)
    return isinstance(error, DataError | ValueError | ArithmeticError | KeyError)


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
    left = seen.held.keys() - {order.id for order in gate.stream_orders(item)}
    left -= holds.known_ids(left)
    return [Poisoned(pk, seen.held[pk][0], item) for pk in sorted(left)]


def bury_unreadable(item: int, lines: Sequence[tuple[str, str]]) -> None:
    """Lines that nobody can read leave the stream: with their order, if they still name one, else into a dead letter."""
    lost = _stranded_if_known(item) if lines else []
    for entry_id, raw in lines:
        args, error = [item, raw], ValueError("unreadable stream entry")
        named = [order for order in lost or () if str(order.id) in raw] or _ended_before(item, raw, lost)
        is_ended = len(named) == 1 and end_at_once("tasks.dispatch", args, error, named[0])
        if is_ended or dead_letters.bury("tasks.dispatch", args, error, attempts=1):
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

    For a line that nobody can read, these are the orders that only their hold at the gate knows and no other letter names.

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
            order = AdmittedOrder.from_payload(payload)
            return [Poisoned(order.id, order.customer, item)]
        case "tasks.dispatch", [int(item), str()]:
            others = DeadLetter.objects.filter(resolved_at=None).exclude(pk=letter.pk).values_list("args", flat=True)
            told = [json.dumps(args) for args in others]
            return [order for order in stranded(item) if not any(str(order.id) in args for args in told)]
    raise NotOneOrder
