"""A provider that decides by method and keeps books, so that asking again gives the truth.

The one adapter that has tables of our database: they stand for the provider's own.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal

from django.db import transaction
from django.db.models import F

from flashsale.core import bulk
from flashsale.core.clock import now
from flashsale.core.errors import Invalid
from flashsale.core.ids import new_uuid
from payments.models import SandboxCharge, SandboxRefund
from payments.providers.base import ChargeRequest, ChargeResult, NoSuchCharge, Outcome

_HEALS_AT = 3  # pm_unavailable is captured when asked for the third time
_SLOW = timedelta(seconds=2)
_DECIDED = {"pm_declined": "declined", "pm_unavailable": "unavailable"}


class Sandbox:
    """pm_ok, pm_declined, pm_unavailable (fails, then heals), pm_unknown (charged, the answer lost), pm_slow.

    Whoever holds the webhooks' secret plays the provider: an event decides a charge, as ``hear`` says.
    """

    methods = frozenset({"pm_ok", "pm_declined", "pm_unavailable", "pm_unknown", "pm_slow"})

    def charge(self, requests: Sequence[ChargeRequest]) -> list[ChargeResult]:
        """
        Raises:
            Invalid: a key came before with another amount.
        """
        wanted = {request.key: request for request in requests}
        with transaction.atomic():
            book = self._enter(list(wanted.values()))
            repeated = [key for key in wanted if key not in book]
            answers = [self._answer(charge, first=True) for charge in book.values()]
            if repeated:
                answers += [self._answer(charge, first=False) for charge in self._ask_again(repeated, wanted)]
        return answers

    def _enter(self, requests: Sequence[ChargeRequest], outcome: str = "") -> dict[str, SandboxCharge]:
        moment = now()
        rows = {
            request.key: {
                "ref": f"ch_{new_uuid().hex}",
                "idempotency_key": request.key,
                "amount": request.amount,
                "currency": request.currency,
                "method": request.method,
                "outcome": outcome or _DECIDED.get(request.method, "captured"),
                "asked": 1,
                "decided_at": moment + _SLOW if request.method == "pm_slow" else moment,
            }
            for request in requests
        }
        inserted = bulk.insert(SandboxCharge, list(rows.values()), returning=("idempotency_key",))
        return {key: SandboxCharge(**rows[key]) for (key,) in inserted}

    def _ask_again(self, keys: Sequence[str], wanted: Mapping[str, ChargeRequest]) -> list[SandboxCharge]:
        rows = SandboxCharge.objects.filter(idempotency_key__in=keys)
        rows.update(asked=F("asked") + 1)
        rows.filter(outcome="unavailable", asked__gte=_HEALS_AT).update(outcome="captured")
        found = list(rows)
        if any(charge.amount != wanted[charge.idempotency_key].amount for charge in found):
            raise Invalid("The idempotency key was used with another amount.")
        return found

    def _answer(self, charge: SandboxCharge, *, first: bool) -> ChargeResult:
        outcome = {
            "captured": Outcome.SUCCEEDED,
            "declined": Outcome.DECLINED,
            "unavailable": Outcome.UNAVAILABLE,
        }[charge.outcome]
        if charge.decided_at > now():
            outcome = Outcome.PENDING
        if first and charge.method == "pm_unknown":
            outcome = Outcome.UNKNOWN
        return ChargeResult(charge.idempotency_key, outcome, charge.ref)

    def look_up(self, keys: Sequence[str]) -> list[ChargeResult]:
        """Nothing of a charge that the books do not have."""
        return [self._answer(charge, first=False) for charge in SandboxCharge.objects.filter(idempotency_key__in=list(keys))]

    def hear(self, told: Sequence[tuple[ChargeRequest, Outcome]]) -> None:
        """A charge that was not captured is captured from a success on, and declined from a failure on; a capture stays one."""
        for request, outcome in told:
            decided = "captured" if outcome is Outcome.SUCCEEDED else "declined"
            self._enter([request], outcome=decided)
            charge = SandboxCharge.objects.filter(idempotency_key=request.key)
            charge.exclude(outcome="captured").update(outcome=decided)
            if outcome is Outcome.SUCCEEDED:
                charge.filter(decided_at__gt=now()).update(decided_at=now())

    def refund(self, charge_key: str, refund_key: str, amount: Decimal) -> str:
        """
        Raises:
            NoSuchCharge: there is no such captured charge.
        """
        charge = SandboxCharge.objects.filter(idempotency_key=charge_key, outcome="captured").first()
        if charge is None:
            raise NoSuchCharge
        refund, _ = SandboxRefund.objects.get_or_create(
            idempotency_key=refund_key,
            defaults={"ref": f"re_{new_uuid().hex}", "charge": charge, "amount": amount},
        )
        return refund.ref
