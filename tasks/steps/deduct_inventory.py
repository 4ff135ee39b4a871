"""Step 2: reserve the units in PostgreSQL and move the orders from the stream to the intake."""

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from celery import shared_task
from django.db import DataError, IntegrityError

from flashsale.core.clock import from_us, now
from flashsale.core.errors import Refused
from inventory.admission import gate
from inventory.admission.admitted import read
from inventory.admission.gate import Entry
from inventory.errors import GateUnavailable
from orders import services
from orders.errors import TermsUnknown
from tasks.repair import dead_letters, poison, unread
from tasks.steps import pipeline
from tasks.worker.retry import Step

logger = logging.getLogger(__name__)
_OURS = (
    LookupError,
    TypeError,
    ValueError,
    ArithmeticError,
    AttributeError,
)  # errors of our own code: no evidence against an order
_MOST_LEFT = 10  # failed attempts with single orders before the rest of the batch is left to another process
_TERMS_PATIENCE = timedelta(minutes=1)


@shared_task(base=Step, name="tasks.deduct_inventory")
def deduct_inventory(item: int, batch: list[list[Any]]) -> list[str]:
    """Reserve a batch's units, then acknowledge the stream. Returns the order ids for the next step. May run twice."""
    read_ones = [(entry_id, payload, read(payload)) for entry_id, payload in batch]
    taken, more = take_over(item, [(entry_id, order) for entry_id, _, order in read_ones if order is not None])
    if not_read := [(entry_id, payload) for entry_id, payload, order in read_ones if order is None]:
        unread.hand_back(item, not_read)
    if more:
        pipeline.wake(item)
    return [str(pk) for pk in taken]


def take_over(item: int, entries: Sequence[Entry]) -> tuple[list[UUID], bool]:
    """Reserve the units of claimed entries, then acknowledge the stream. May run twice.

    Returns:
        The decided orders, and whether the caller must wake the dispatcher for more orders in the stream.
    """
    deduction = Deduction(item)
    deduction.run(entries)
    try:
        more = gate.ack(item, deduction.taken)
        gate.leave(item, deduction.left, idle_ms=0)
    except GateUnavailable:
        logger.warning("stream not acknowledged", extra={"event": "ack_failed", "item": item})
        more = False
    return [order.id for _, order in deduction.taken], more


class Deduction:
    """``taken``: entries that PostgreSQL has decided on. ``left``: entries that stay in the stream for another process."""

    def __init__(self, item: int) -> None:
        self._item = item
        self.taken: list[Entry] = []
        self.left: list[str] = []

    def run(self, entries: Sequence[Entry]) -> None:
        """Deduct the entries. On failure, split them in halves until the failing order is alone."""
        if not entries:
            return
        if len(self.left) >= _MOST_LEFT:
            self.left += [entry_id for entry_id, _ in entries]
            return
        try:
            decided = set(services.deduct(self._item, [order for _, order in entries]))
        except (IntegrityError, DataError, Refused, *_OURS) as error:
            if len(entries) == 1:
                self._set_aside(entries[0], error)
                return
            half = len(entries) // 2
            self.run(entries[:half])
            self.run(entries[half:])
            return
        self.taken += [entry for entry in entries if entry[1].id in decided]
        self._wait_for_terms([entry for entry in entries if entry[1].id not in decided])

    def _wait_for_terms(self, undecided: Sequence[Entry]) -> None:
        """Leave orders with unknown terms in the stream for up to a minute. After that, write dead letters for staff."""
        streamed = {order.id for order in gate.streamed(self._item)} if undecided else set()
        for entry in undecided:
            if entry[1].id not in streamed or now() - from_us(entry[1].at) > _TERMS_PATIENCE:
                self._set_aside(entry, TermsUnknown())

    def _set_aside(self, entry: Entry, error: Exception) -> None:
        entry_id, order = entry
        args: list[Any] = [self._item, [[entry_id, order.as_payload()]]]
        if services.can_never_fit(error, order):
            poison.end("tasks.deduct_inventory", args, error, poison.Poisoned(order.id, order.customer, self._item))
            self.taken.append(entry)
            return
        is_written = dead_letters.dead_letter("tasks.deduct_inventory", args, error, attempts=1)
        if is_written and isinstance(error, Refused):  # refused for good; other errors may be solved by another release
            gate.drop(self._item, [entry_id])
        else:
            self.left.append(entry_id)
