"""Start the chain of a batch and wake the dispatcher. Tasks are sent by name, so this module imports none.

Steps of a batch: dispatch -> deduct_inventory -> create_orders -> request_payments, and cancel_unpaid at the deadline.
"""

import logging
import math
import threading
from collections.abc import Collection, Sequence
from contextlib import suppress

from celery import chain, signature
from django.conf import settings

from flashsale.core import messages
from flashsale.core.metrics import BATCH_ORDERS
from flashsale.ratelimit.limit import SECOND_US
from inventory.admission import gate
from inventory.admission.gate import Entry
from inventory.admission.wake_up import wake
from inventory.errors import GateUnavailable

__all__ = ["start_chain", "wake", "wake_again", "wake_later", "wake_soon"]

logger = logging.getLogger(__name__)
_MOST_WAKE_UPS = 100
_LONGEST_SLEEP_S = 1.0  # a changed rule takes effect within this time


def wake_again(items: Collection[int]) -> None:
    """Like :func:`wake`, for sweeps that run every second. Broker errors are not raised.

    At most a hundred messages wait in the queue, so that the dispatcher does not find thousands after an outage. The items
    whose orders have waited longest come first.

    Raises:
        GateUnavailable: Redis cannot be read to find the longest-waiting items.
    """
    room = max(0, _MOST_WAKE_UPS - _waiting_messages("dispatch")) if items else 0
    chosen = sorted(items) if len(items) <= room else gate.by_oldest_unclaimed(items)[:room] if room else []
    for item in chosen:
        wake(item)


def _waiting_messages(queue: str) -> int:
    """Number of waiting messages in the queue. Returns the limit if the broker cannot be reached."""
    try:
        return messages.waiting_in(queue)
    except messages.MessageNotSent as error:
        logger.warning("broker could not be queried", extra={"event": "broker_not_asked", "error": repr(error)})
        return _MOST_WAKE_UPS


def wake_later(seconds: float) -> None:
    """Wake the dispatcher within a second, when its pace allows more. Concurrent calls send one message. Never raises."""
    seconds = min(seconds, _LONGEST_SLEEP_S)
    try:
        is_first = gate.wake_once(ttl_ms=max(1, math.ceil(seconds * 1000)))
    except GateUnavailable as error:
        logger.warning("wake-up not sent", extra={"event": "message_not_sent", "error": repr(error)})
        return
    if is_first:
        messages.publish("tasks.dispatch", None, countdown=seconds)


def wake_soon(item: int, seconds: float) -> None:
    """Like :func:`wake`, after some milliseconds. Uses a timer, because broker delays depend on equal clocks.

    If the process dies, the wake-up is lost. The next order or the sweep sends one within a second.
    """
    timer = threading.Timer(seconds, _wake_when_free, (item,))
    timer.daemon = True
    timer.start()


def _wake_when_free(item: int) -> None:
    """Wake the dispatcher, or wait on while the chain of the item's last batch is under way."""
    linger_us = settings.DISPATCH_LINGER_MS * 1000
    try:
        left_us = gate.may_start(item, linger_us=linger_us, full=settings.BATCH_SIZE)
    except GateUnavailable:
        left_us = 0
    if left_us:
        wake_soon(item, left_us / SECOND_US)
    else:
        wake(item)


def start_chain(item: int, entries: Sequence[Entry]) -> None:
    """Start a chain for a batch of claimed orders. Never raises: if the chain is not sent, a sweep reclaims the orders."""
    BATCH_ORDERS.observe(len(entries))
    batch = [[entry_id, order.as_payload()] for entry_id, order in entries]
    steps = chain(
        signature("tasks.deduct_inventory", args=(item, batch), headers=messages.stamped((item, batch))),
        signature("tasks.create_orders"),
        signature("tasks.request_payments"),
    )
    with suppress(messages.MessageNotSent):
        messages.send_chain(steps)
