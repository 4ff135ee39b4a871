"""Sweeps: each finds work that stands still after a lost message and continues it, a bounded amount per run.

They run in two processes (a beat task and ``manage.py sweep``), may run concurrently, and do the work themselves.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence

from celery import shared_task
from django.conf import settings
from django.db import close_old_connections

from flashsale.accounts import revocations
from flashsale.core import messages
from flashsale.core.errors import FlashsaleError
from flashsale.ratelimit.rules import publish
from inventory import selectors as inventory
from inventory.admission import gate
from inventory.admission.gate import Entry
from orders import services
from payments import services as payments
from tasks.repair import gate_sync, poison, unread
from tasks.steps import cancel_unpaid, create_orders, deduct_inventory, gate_effects, pipeline, request_payments
from tasks.steps.dispatch import CONSUMER
from tasks.worker import heartbeat, pace
from tasks.worker.retry import TRANSIENT

logger = logging.getLogger(__name__)
_CLAIM_IDLE_MS = 3_000
_LIMIT = 1000
_REFUNDS = 5  # refunds between two checks of the time


def waiting_orders() -> None:
    """Find unclaimed orders after a lost wake-up, and stale claims after a lost chain."""
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
        poison.dead_letter_unreadable(item, stolen.broken)
        unread.look_after(item, stolen.unread)
        left = [entry for entry in stolen.entries if entry[0] in stolen.left]
        if left:
            _carry_on(item, left)
        if others := [entry for entry in stolen.entries if entry[0] not in stolen.left]:
            pipeline.start_chain(item, others)


def _carry_on(item: int, entries: Sequence[Entry]) -> None:
    """Create orders that another process left. Not with a chain, because its steps might reach that process again."""
    ids, _ = deduct_inventory.take_over(item, entries)
    if made := create_orders.create(ids):
        messages.publish("tasks.request_payments", [str(pk) for pk in made])


def half_made_orders() -> None:
    """Continue orders whose chain was lost after the deduction. Orders that only wait for their queue's pace are skipped."""
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
    """Ask for missing provider answers, and apply answers that did not reach their order."""
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
    """Close dead letters whose orders have been taken over since."""
    unread.close_letters()


def unpaid_orders() -> None:
    """Cancel overdue orders after a lost delayed cancellation."""
    cancel_unpaid.drain()


def effects() -> None:
    """Apply effects that did not reach the gate."""
    gate_effects.apply()


Sweep = Callable[[], object]
GIVING_BACK: tuple[Sweep, ...] = (unpaid_orders, effects)
ASKING: tuple[Sweep, ...] = (half_made_orders, open_payments)  # sweeps that call a payment provider
DRIVING_ON: tuple[Sweep, ...] = (
    waiting_orders,
    healed_letters,
    gate_sync.refresh_gates,
    publish.publish,
    revocations.sweep,
)
SWEEPS = GIVING_BACK + DRIVING_ON + ASKING


def run(sweep: Sweep) -> None:
    """Run a sweep once. Never raises: errors are logged and the next run tries again."""
    try:
        close_old_connections()
        sweep()
    except (*TRANSIENT, FlashsaleError, OSError) as error:
        heartbeat.note_trouble(error)
        logger.warning("sweep failed", extra={"event": "sweep_failed", "sweep": sweep.__name__, "error": repr(error)})
    except Exception as error:  # an error in one sweep must not stop the others
        logger.exception("sweep broke", extra={"event": "sweep_broke", "sweep": sweep.__name__, "error": repr(error)})
    finally:
        heartbeat.swept()


def run_all(chosen: Iterable[Sweep] = SWEEPS) -> None:
    """Run these sweeps once, one after the other. A failing sweep does not stop the others."""
    for each in chosen:
        run(each)


@shared_task(name="tasks.forget_gates", ignore_result=True)
def forget_gates() -> None:
    """Delete the gates of sales that ended before the retention time."""
    gate.remember(item for item, units in gate.stocks(inventory.watched_items()).items() if units is not None)
    gate_sync.forget_gates(inventory.retired_items())


@shared_task(name="tasks.sweep", ignore_result=True)
def sweep() -> None:
    """Run the order sweeps from beat. They run in the dispatcher's process, so none of them calls a provider."""
    run_all(DRIVING_ON)


@shared_task(name="tasks.sweep_payments", ignore_result=True)
def sweep_payments() -> None:
    """Run the payment sweeps from beat, on the payments queue, because providers may be slow."""
    run_all(ASKING)


@shared_task(name="tasks.sweep_unpaid", ignore_result=True)
def sweep_unpaid() -> None:
    """Run the sweeps that release units from beat, on their own queue, so that other sweeps do not delay them."""
    run_all(GIVING_BACK)
