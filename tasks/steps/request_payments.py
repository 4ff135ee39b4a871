"""Step 4: charge the payments and update the orders with the results."""

import logging
import time
from collections.abc import Iterable, Sequence
from uuid import UUID

from celery import shared_task

from flashsale.core import messages
from flashsale.core.ids import item_of_order
from inventory.admission import gate
from inventory.errors import GateUnavailable
from orders import selectors, services
from payments import services as payments
from tasks.steps import cancel_unpaid, gate_effects
from tasks.worker.retry import Step

logger = logging.getLogger(__name__)
TURN_S = 1.0  # time per batch for provider calls before other batches continue
_FIRST = 5  # payments per turn until the provider's speed is known
_FEED_S = 0.5  # seconds of work that a provider with a pace of its own is given at once
_MORE_EVENTS = 100  # limit of further events of the same payments


@shared_task(base=Step, name="tasks.request_payments")
def request_payments(order_ids: list[str]) -> None:
    """Open and charge a batch's payments, and schedule the cancellation of unpaid orders. May run twice."""
    ids = [UUID(pk) for pk in order_ids]
    opened = services.request_payments(ids)
    paid = _charge_or_publish(opened.others, opened.fresh)
    if ids:
        _end_batch(item_of_order(ids[0]))
    if unpaid := set(ids).difference(paid):
        cancel_unpaid.schedule(selectors.unpaid_of(unpaid))


def _end_batch(item: int) -> None:
    """Let the next batch of the item start. Without it, that starts ten lingers after this one."""
    try:
        gate.end_batch(item)
    except GateUnavailable as error:
        logger.warning("end of batch not told", extra={"event": "batch_end_not_told", "item": item, "error": repr(error)})


@shared_task(base=Step, name="tasks.charge_payments")
def charge_payments(payment_ids: list[str]) -> None:
    """Charge these payments, or ask again for their result. May run twice."""
    _charge_or_publish([UUID(pk) for pk in payment_ids])


def _charge_or_publish(payment_ids: Sequence[UUID], fresh: Sequence[UUID] = ()) -> list[UUID]:
    """Charge payments for one turn and re-publish the rest, so that a slow provider does not block other batches.

    Returns:
        The orders that were paid.
    """
    left, paid = _charge(payment_ids, fresh)
    if left:
        messages.publish("tasks.charge_payments", [str(pk) for pk in left])
    return paid


class _Speed:
    """Recent seconds per payment of a provider; None before the first one."""

    per_payment_s: float | None = None


def most_in_a_turn(limit: int, *, within_s: float = TURN_S) -> int:
    """Estimated number of payments the provider can process in ``within_s`` seconds, from 1 to ``limit``."""
    if pace := payments.pace():
        return max(1, min(limit, int(pace * min(within_s, _FEED_S))))
    if _Speed.per_payment_s is None:
        return min(limit, _FIRST)
    return max(1, min(limit, int(within_s / max(_Speed.per_payment_s, 1e-6))))


def charge_and_apply(payment_ids: Iterable[UUID], fresh: Iterable[UUID] = ()) -> list[UUID]:
    """Charge these payments outside any transaction and apply the results. May run twice.

    Args:
        fresh: payments that the caller has just opened in state ``processing``.

    Returns:
        The payments that were not charged because ``TURN_S`` seconds had passed.
    """
    left, _ = _charge(payment_ids, fresh)
    return left


def _charge(payment_ids: Iterable[UUID], fresh: Iterable[UUID]) -> tuple[list[UUID], list[UUID]]:
    """Returns the payments that are left, and the orders that were paid."""
    paid: list[UUID] = []
    is_fresh = frozenset(fresh := list(fresh))
    left = [*fresh, *payment_ids]
    ends = time.monotonic() + TURN_S
    while left and (remaining_s := ends - time.monotonic()) > 0:
        size = most_in_a_turn(len(left), within_s=remaining_s)
        some, left = left[:size], left[size:]
        began, applying_s = time.monotonic(), 0.0
        others, mine = [pk for pk in some if pk not in is_fresh], [pk for pk in some if pk in is_fresh]
        for answers in payments.ask(others, mine, more=bool(left)):
            heard = time.monotonic()
            paid += apply(answers)
            applying_s += time.monotonic() - heard
        _Speed.per_payment_s = (time.monotonic() - began - applying_s) / len(some)
    if unasked := is_fresh.intersection(left):
        payments.put_back(unasked)
    return left, paid


def apply(answers: Sequence[payments.Answer]) -> list[UUID]:
    """Apply the provider's answers to orders, stock and the gate. Returns the orders that are paid now."""
    if not answers:
        return []
    paid = services.apply_answers(answers)
    gate_effects.apply()
    return paid


def settle_events(limit: int, payment_ids: Iterable[UUID] | None = None) -> None:
    """Confirm received provider events with the provider, outside any transaction, and apply them.

    May run twice and concurrently.

    Args:
        payment_ids: only events of these payments.
    """
    confirmed = payments.confirm_events(limit, payment_ids)
    apply(confirmed.answers)
    payments.close_events(confirmed)


@shared_task(base=Step, name="tasks.apply_outcomes")
def apply_outcomes(payment_ids: list[str]) -> None:
    """Apply the provider events of these payments. May run twice."""
    ids = [UUID(pk) for pk in payment_ids]
    settle_events(len(ids) + _MORE_EVENTS, ids)
    apply(payments.untold_answers(ids))
