"""Step 4: the money is asked for, and the orders learn what became of it."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from celery import shared_task

from orders import selectors, services
from payments import services as payments
from tasks import cancel_unpaid, gate_effects
from tasks.retry import Step

_MORE_EVENTS = 100  # of the same payments


@shared_task(base=Step, name="tasks.request_payments")
def request_payments(order_ids: list[str]) -> None:
    """Open and charge a batch's payments; one delayed cancellation for those that stay unpaid. May run twice."""
    ids = [UUID(pk) for pk in order_ids]
    charge_and_apply(services.request_payments(ids))
    cancel_unpaid.schedule(selectors.unpaid_of(ids))


@shared_task(base=Step, name="tasks.charge_payments")
def charge_payments(payment_ids: list[str]) -> None:
    """Ask about these payments now. May run twice."""
    charge_and_apply([UUID(pk) for pk in payment_ids])


def charge_and_apply(payment_ids: Iterable[UUID]) -> None:
    """The provider is asked, outside any transaction; what it says reaches order, ledger and gate."""
    apply(payments.ask(payment_ids))


def apply(answers: Sequence[payments.Answer]) -> None:
    """What a provider said reaches order, ledger and gate."""
    if answers:
        services.apply_answers(answers)
        gate_effects.apply()


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
