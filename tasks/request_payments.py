"""Step 4: the money is asked for, and the orders learn what became of it."""

import time
from collections.abc import Iterable, Sequence
from uuid import UUID

from celery import shared_task

from flashsale.core import messages
from orders import selectors, services
from payments import services as payments
from tasks import cancel_unpaid, gate_effects
from tasks.retry import Step

TURN_S = 1.0  # how long a provider is asked before others have their turn
_FIRST = 5  # payments that are asked about while nobody knows how long one takes
_MORE_EVENTS = 100  # of the same payments


@shared_task(base=Step, name="tasks.request_payments")
def request_payments(order_ids: list[str]) -> None:
    """Open and charge a batch's payments; one delayed cancellation for those that stay unpaid. May run twice."""
    ids = [UUID(pk) for pk in order_ids]
    opened = services.request_payments(ids)
    paid = _charge_or_publish(opened.others, opened.fresh)
    if unpaid := set(ids).difference(paid):
        cancel_unpaid.schedule(selectors.unpaid_of(unpaid))


@shared_task(base=Step, name="tasks.charge_payments")
def charge_payments(payment_ids: list[str]) -> None:
    """Ask about these payments now. May run twice."""
    _charge_or_publish([UUID(pk) for pk in payment_ids])


def _charge_or_publish(payment_ids: Sequence[UUID], fresh: Sequence[UUID] = ()) -> list[UUID]:
    """What there is no time for goes to the end of the queue, so that a slow provider keeps no other batch waiting for long.

    Returns:
        The orders that are paid now.
    """
    left, paid = _charge(payment_ids, fresh)
    if left:
        messages.publish("tasks.charge_payments", [str(pk) for pk in left])
    return paid


class _Speed:
    """What a provider has lately needed for one payment, in seconds; None before the first one."""

    per_payment_s: float | None = None


def most_in_a_turn(limit: int, *, within_s: float = TURN_S) -> int:
    """How many payments the provider can be asked about in that time, going by the last ones; ``limit`` at most, 1 at least."""
    if _Speed.per_payment_s is None:
        return min(limit, _FIRST)
    return max(1, min(limit, int(within_s / max(_Speed.per_payment_s, 1e-6))))


def charge_and_apply(payment_ids: Iterable[UUID], fresh: Iterable[UUID] = ()) -> list[UUID]:
    """The provider is asked, outside any transaction; what it says reaches order, ledger and gate. May run twice.

    Args:
        fresh: payments that the caller has just opened as being asked about.

    Returns:
        The payments that were not asked about, because ``TURN_S`` seconds had passed.
    """
    left, _ = _charge(payment_ids, fresh)
    return left


def _charge(payment_ids: Iterable[UUID], fresh: Iterable[UUID]) -> tuple[list[UUID], list[UUID]]:
    """The payments that are left, and the orders that are paid now."""
    paid: list[UUID] = []
    is_fresh = frozenset(fresh := list(fresh))
    left = [*fresh, *payment_ids]
    ends = time.monotonic() + TURN_S
    while left and (remaining_s := ends - time.monotonic()) > 0:
        size = most_in_a_turn(len(left), within_s=remaining_s)
        some, left = left[:size], left[size:]
        began, applying_s = time.monotonic(), 0.0
        for answers in payments.ask([pk for pk in some if pk not in is_fresh], [pk for pk in some if pk in is_fresh]):
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
    """What a provider told us of its own accord is confirmed by its books, outside any transaction, and applied.

    May run twice and at once.

    Args:
        payment_ids: of these payments alone.
    """
    confirmed = payments.confirm_events(limit, payment_ids)
    apply(confirmed.answers)
    payments.close_events(confirmed)


@shared_task(base=Step, name="tasks.apply_outcomes")
def apply_outcomes(payment_ids: list[str]) -> None:
    """Let orders learn what a provider told us of its own accord. May run twice."""
    ids = [UUID(pk) for pk in payment_ids]
    settle_events(len(ids) + _MORE_EVENTS, ids)
    apply(payments.untold_answers(ids))
