"""The safety nets: each finds work that stands still and drives it on, bounded, whatever message was lost.

They run in two processes (a beat task and ``manage.py sweep``), may run at once, and do the work themselves.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence

from celery import shared_task
from django.conf import settings
from django.db import close_old_connections

from flashsale.accounts import publish as revocations
from flashsale.core import messages
from flashsale.core.errors import FlashsaleError
from flashsale.limits import publish
from inventory import selectors as inventory
from inventory.admission import gate
from inventory.admission.gate import Entry
from orders import services
from payments import services as payments
from tasks import (
    cancel_unpaid,
    create_orders,
    deduct_inventory,
    gate_effects,
    gate_sync,
    heartbeat,
    pace,
    pipeline,
    poison,
    request_payments,
    unread,
)
from tasks.dispatch import CONSUMER
from tasks.retry import TRANSIENT

logger = logging.getLogger(__name__)
_CLAIM_IDLE_MS = 3_000
_LIMIT = 1000
_REFUNDS = 5  # between two looks at the clock


def waiting_orders() -> None:
    """A wake-up was lost: orders wait and nobody has claimed them. A chain was lost: a claim stands still."""
    items = inventory.watched_items()
    may_steal = pace.has_room("inventory")
    waiting = gate.waiting(items)
    pipeline.wake_again([item for item, (unclaimed, _) in waiting.items() if unclaimed])
    room = _LIMIT
    for item in gate.by_oldest_pending([item for item, (_, claimed) in waiting.items() if claimed]) if may_steal else []:
        if room <= 0:
            break
        stolen = gate.steal(item, consumer=CONSUMER, idle_ms=_CLAIM_IDLE_MS, limit=min(room, settings.BATCH_SIZE))
        room -= len(stolen.entries)
        poison.bury_unreadable(item, stolen.broken)
        unread.look_after(item, stolen.unread)
        left = [entry for entry in stolen.entries if entry[0] in stolen.left]
        if left:
            _carry_on(item, left)
        if others := [entry for entry in stolen.entries if entry[0] not in stolen.left]:
            pipeline.start_chain(item, others)


def _carry_on(item: int, entries: Sequence[Entry]) -> None:
    """Make rows of orders that another process left. Here, not by a chain: its steps might come to that process again."""
    ids, _ = deduct_inventory.take_over(item, entries)
    if made := create_orders.create(ids):
        messages.publish("tasks.request_payments", [str(pk) for pk in made])


def half_made_orders() -> None:
    """A chain step was lost between the deduction and the payment; what only waits for its queue's pace is left to it."""
    stale = services.stale_intake(_LIMIT)
    stale = stale[: pace.may_sweep("orders", len(stale))]
    if stale:
        create_orders.create(stale)
    reserved = services.stale_reserved(request_payments.most_in_a_turn(_LIMIT))
    reserved = reserved[: pace.may_sweep("payments", len(reserved))]
    if reserved:
        opened = services.request_payments(reserved)
        request_payments.charge_and_apply(opened.others, opened.fresh)


def open_payments() -> None:
    """A provider's answer is missing, or an order has not learnt of it."""
    most = request_payments.most_in_a_turn(_LIMIT)
    due = payments.due_payments(most)
    due = due[: pace.may_sweep("payments", len(due))]
    if due:
        request_payments.charge_and_apply(due)
    request_payments.settle_events(most)
    request_payments.apply(payments.untold_answers(payments.decided_payments(_LIMIT)))
    ends = time.monotonic() + request_payments.TURN_S
    while payments.process_refunds(_REFUNDS) == _REFUNDS and time.monotonic() < ends:
        pass


def healed_letters() -> None:
    """An order that was in the dead letters has been taken over since."""
    unread.close_letters()


def unpaid_orders() -> None:
    """A delayed cancellation was lost."""
    cancel_unpaid.drain()


def effects() -> None:
    """The gate has not been told of what the ledger decided."""
    gate_effects.apply()


Sweep = Callable[[], object]
GIVING_BACK: tuple[Sweep, ...] = (unpaid_orders, effects)
ASKING: tuple[Sweep, ...] = (half_made_orders, open_payments)  # a provider
DRIVING_ON: tuple[Sweep, ...] = (
    waiting_orders,
    healed_letters,
    gate_sync.refresh_gates,
    publish.publish,
    revocations.sweep,
)
SWEEPS = GIVING_BACK + DRIVING_ON + ASKING


def run(sweep: Sweep) -> None:
    """One sweep, once. Never raises: whatever is wrong is logged, and the next time tries again."""
    try:
        close_old_connections()
        sweep()
    except (*TRANSIENT, FlashsaleError, OSError) as error:
        heartbeat.note_trouble(error)
        logger.warning("sweep failed", extra={"event": "sweep_failed", "sweep": sweep.__name__, "error": repr(error)})
    except Exception as error:  # a fault of ours in one net must not take the others away
        logger.exception("sweep broke", extra={"event": "sweep_broke", "sweep": sweep.__name__, "error": repr(error)})
    finally:
        heartbeat.swept()


def run_all(chosen: Iterable[Sweep] = SWEEPS) -> None:
    """These sweeps once, one after the other; one that fails does not keep the others back."""
    for each in chosen:
        run(each)


@shared_task(name="tasks.forget_gates", ignore_result=True)
def forget_gates() -> None:
    """Delete the gates of sales that have been over for longer than the retention."""
    gate.remember(item for item, units in gate.stocks(inventory.watched_items()).items() if units is not None)
    gate_sync.forget_gates(inventory.retired_items())


@shared_task(name="tasks.sweep", ignore_result=True)
def sweep() -> None:
    """Beat's half of the sweeps that drive orders on. In the dispatcher's process, so none that asks a provider."""
    run_all(DRIVING_ON)


@shared_task(name="tasks.sweep_payments", ignore_result=True)
def sweep_payments() -> None:
    """Beat's half of the sweeps that ask a provider, however slow that is; on the queue of the payments."""
    run_all(ASKING)


@shared_task(name="tasks.sweep_unpaid", ignore_result=True)
def sweep_unpaid() -> None:
    """Beat's half of the sweeps that give units back; a queue of its own, so a slow one of the others does not delay it."""
    run_all(GIVING_BACK)
