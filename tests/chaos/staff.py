"""Staff who end the orders in the dead letters that nobody can help."""

from collections.abc import Collection
from contextlib import suppress
from uuid import UUID


def reject_poison(gone: Collection[int], spoilt: Collection[str], *, every: int = 1) -> list[UUID]:
    """Reject orders of customers who are gone and spoilt ones, each ``every``-th that waits, the oldest first; no other.

    But each whose line nobody can read: nothing else knows of it, so gate and ledger differ until it is rejected.

    Raises:
        GateUnavailable, GateMissing: nobody can say what a letter holds.
    """
    from orders.models import Intake
    from tasks.models import DeadLetter
    from tasks.repair import poison

    waiting = Intake.objects.filter(payload__customer__in=list(gone)).values_list("pk", flat=True)
    poisoned = [*spoilt, *map(str, waiting)]
    letters = DeadLetter.objects.filter(resolved_at=None).order_by("pk")
    found = [letter for letter in letters if any(order in str(letter.args) for order in poisoned)]
    rejected = []
    for letter in (letter for number, letter in enumerate(found) if letter.is_unreadable or not number % every):
        with suppress(poison.NotOneOrder):  # the checker will name it
            rejected += poison.reject(letter, "staff")
    return rejected
