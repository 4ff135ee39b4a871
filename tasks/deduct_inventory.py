"""Step 2: the ledger takes the orders over from the stream."""

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from celery import shared_task
from django.db import DataError, IntegrityError

from flashsale.core.clock import from_us, now
from flashsale.core.errors import Refused
from inventory.admission import gate
from inventory.admission.admitted import AdmittedOrder
from inventory.admission.gate import Entry
from inventory.errors import GateUnavailable
from orders import services
from orders.errors import TermsUnknown
from tasks import dead_letters, poison
from tasks.retry import Step

logger = logging.getLogger(__name__)
_POISON = (IntegrityError, DataError, Refused)
_TERMS_PATIENCE = timedelta(minutes=1)


@shared_task(base=Step, name="tasks.deduct_inventory")
def deduct_inventory(item: int, batch: list[list[Any]]) -> list[str]:
    """Reserve a batch's units, then acknowledge the stream; hands the order ids on. May run twice."""
    from tasks import pipeline

    entries = [(entry_id, AdmittedOrder.from_payload(payload)) for entry_id, payload in batch]
    taken = _deduct(item, entries)
    try:
        more = gate.ack(item, taken)
    except GateUnavailable:
        logger.warning("stream not acknowledged", extra={"event": "ack_failed", "item": item})
        more = False
    if more:
        pipeline.wake(item)
    return [str(order.id) for _, order in taken]


def _deduct(item: int, entries: Sequence[Entry]) -> list[Entry]:
    """The entries that the ledger has decided on; an order it cannot take is rejected, or waits alone in the dead letters."""
    try:
        decided = set(services.deduct(item, [order for _, order in entries]))
    except _POISON as error:
        if len(entries) == 1:
            return _set_aside(item, entries[0], error)
        half = len(entries) // 2
        return _deduct(item, entries[:half]) + _deduct(item, entries[half:])
    _try_again([entry for entry in entries if entry[1].id not in decided], item)
    return [entry for entry in entries if entry[1].id in decided]


def _try_again(undecided: Sequence[Entry], item: int) -> None:
    """Leave orders under terms that the ledger does not know to the sweeps, as long as the stream has them, for a minute; then
    they wait for staff in the dead letters.
    """
    streamed = {order.id for order in gate.stream_orders(item)} if undecided else set()
    for entry in undecided:
        if entry[1].id not in streamed or now() - from_us(entry[1].at) > _TERMS_PATIENCE:
            _set_aside(item, entry, TermsUnknown())


def _set_aside(item: int, entry: Entry, error: Exception) -> list[Entry]:
    entry_id, order = entry
    args: list[Any] = [item, [[entry_id, order.as_payload()]]]
    if poison.end_at_once("tasks.deduct_inventory", args, error, poison.Poisoned(order.id, order.customer, item)):
        return [entry]
    if dead_letters.bury("tasks.deduct_inventory", args, error, attempts=1):
        gate.drop(item, [entry_id])
    return []
