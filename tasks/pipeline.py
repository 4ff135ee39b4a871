"""Starts the chain of a batch and wakes the dispatcher. Sends tasks by name, so it imports none.

The way of a batch: dispatch -> deduct_inventory -> create_orders -> request_payments, and cancel_unpaid at the deadline.
"""

import logging
import math
import threading
from collections.abc import Collection, Sequence
from contextlib import suppress

from celery import chain, signature

from flashsale.core import messages
from flashsale.core.metrics import BATCH_ORDERS
from inventory.admission import gate
from inventory.admission.gate import Entry
from inventory.admission.wake_up import wake
from inventory.errors import GateUnavailable

__all__ = ["start_chain", "wake", "wake_again", "wake_later", "wake_soon"]

logger = logging.getLogger(__name__)
_MOST_WAKE_UPS = 100
_LONGEST_SLEEP_S = 1.0  # a changed rule is noticed within it


def wake_again(items: Collection[int]) -> None:
    """As :func:`wake`, for a sweep, which asks every second: no more than a hundred messages wait, or a dispatcher that comes
    back after an outage would first work off every one. The items whose orders have waited longest come first. Never raises
    because of the broker.

    Raises:
        GateUnavailable: it cannot be asked which have waited longest.
    """
    room = max(0, _MOST_WAKE_UPS - _waiting_messages("dispatch")) if items else 0
    chosen = sorted(items) if len(items) <= room else gate.by_oldest_unclaimed(items)[:room] if room else []
    for item in chosen:
        wake(item)


def _waiting_messages(queue: str) -> int:
    """How many messages nobody has taken; as many as there may be when the broker cannot be asked."""
    try:
        return messages.waiting_in(queue)
    except messages.MessageNotSent as error:
        logger.warning("broker not asked", extra={"event": "broker_not_asked", "error": repr(error)})
        return _MOST_WAKE_UPS


def wake_later(seconds: float) -> None:
    """Wake the dispatcher when its pace allows more, within a second; one message however many ask. Never raises."""
    seconds = min(seconds, _LONGEST_SLEEP_S)
    try:
        is_first = gate.wake_once(ttl_ms=max(1, math.ceil(seconds * 1000)))
    except GateUnavailable as error:
        logger.warning("wake-up not sent", extra={"event": "message_not_sent", "error": repr(error)})
        return
    if is_first:
        messages.publish("tasks.dispatch", None, countdown=seconds)


def wake_soon(item: int, seconds: float) -> None:
    """As :func:`wake`, some milliseconds from now. Not by the broker: where clocks differ a message comes too early.

    A process that dies meanwhile loses it; the next order sends one after a second, and the sweep does.
    """
    timer = threading.Timer(seconds, wake, (item,))
    timer.daemon = True
    timer.start()


def start_chain(item: int, entries: Sequence[Entry]) -> None:
    """One chain for one batch of claimed orders. Never raises: a claim whose chain was not sent is stolen by a sweep."""
    BATCH_ORDERS.observe(len(entries))
    batch = [[entry_id, order.as_payload()] for entry_id, order in entries]
    steps = chain(
        signature("tasks.deduct_inventory", args=(item, batch), headers=messages.stamped((item, batch))),
        signature("tasks.create_orders"),
        signature("tasks.request_payments"),
    )
    with suppress(messages.MessageNotSent):
        messages.send_chain(steps)
