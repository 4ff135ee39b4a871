"""A test provider. The payment method decides the outcome, and books make repeated calls give the same answer.

It is the only adapter with tables in our database. They stand for the provider's own.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Sum
from django.db.models.functions import Coalesce

from flashsale.core import bulk
from flashsale.core.clock import now
from flashsale.core.errors import Invalid
from flashsale.core.ids import new_uuid
from payments.models import SandboxCharge, SandboxRefund
from payments.providers import signature
from payments.providers.base import Action, Booked, ChargeRequest, ChargeResult, Event, NoSuchCharge, Outcome

_HEALS_AT = 3  # pm_unavailable is captured at the third call
_SLOW = timedelta(seconds=2)
_DECIDED = {"pm_declined": "declined", "pm_unavailable": "unavailable"}


_METHODS = frozenset({"pm_ok", "pm_declined", "pm_unavailable", "pm_unknown", "pm_slow"})
_TOLD = {"charge.succeeded": Outcome.SUCCEEDED, "charge.failed": Outcome.DECLINED}
_LONGEST = 64


class Sandbox:
    """Methods: pm_ok, pm_declined, pm_unavailable (fails, then works), pm_unknown (charges, the answer is lost), pm_slow.

    The holder of the webhook secret acts as the provider: an event decides a charge, see ``hear``.
    """

    signature_header = "Sandbox-Signature"
    test_methods = (("pm_ok", "Pay now: accepted test card"), ("pm_declined", "Pay now: declined test card"))
    books_sql = (
        "SELECT c.idempotency_key AS key, c.ref, c.amount, c.currency, "
        " coalesce((SELECT sum(r.amount) FROM payments_sandboxrefund r WHERE r.charge_id = c.id), 0) AS refunded "
        "FROM payments_sandboxcharge c WHERE c.outcome = 'captured'"
    )

    def __init__(self, options: Mapping[str, str]) -> None:
        self._secrets = options.get("WEBHOOK_SECRET", "")

    def takes(self, method: str) -> bool:
        """Whether this is one of the five methods."""
        return method in _METHODS

    def per_second(self) -> None:
        """No limit."""

    def charge(self, requests: Sequence[ChargeRequest], *, more: bool = False) -> Iterable[list[ChargeResult]]:
        """
        Raises:
            Invalid: the key was used with another amount.
        """
        wanted = {request.key: request for request in requests}
        with transaction.atomic():
            book = self._enter(list(wanted.values()))
            repeated = [key for key in wanted if key not in book]
            answers = [self._answer(charge, wanted[key], first=True) for key, charge in book.items()]
            if repeated:
                charges = self._ask_again(repeated, wanted)
                answers += [self._answer(charge, wanted[charge.idempotency_key], first=False) for charge in charges]
        return [answers]

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

    def _answer(self, charge: SandboxCharge, request: ChargeRequest, *, first: bool) -> ChargeResult:
        outcome = {
            "captured": Outcome.SUCCEEDED,
            "declined": Outcome.DECLINED,
            "unavailable": Outcome.UNAVAILABLE,
        }[charge.outcome]
        if charge.decided_at > now():
            outcome = Outcome.PENDING
        if first and charge.method == "pm_unknown":
            outcome = Outcome.UNKNOWN
        return ChargeResult(request, outcome, charge.ref)

    def look_up(self, requests: Sequence[ChargeRequest]) -> list[ChargeResult]:
        """Charges that the books do not have are left out."""
        wanted = {request.key: request for request in requests}
        charges = SandboxCharge.objects.filter(idempotency_key__in=list(wanted))
        return [self._answer(charge, wanted[charge.idempotency_key], first=False) for charge in charges]

    def action(self, charge: ChargeRequest) -> Action | None:
        """Returns None. No method of the sandbox needs the customer."""
        return None

    def read_event(self, body: bytes, headers: Mapping[str, str]) -> Event:
        """
        Raises:
            SignatureInvalid: the signature is wrong or older than ``WEBHOOK_TOLERANCE_S``, or no secret is configured.
            Invalid: the body is not a valid event.
        """
        header = headers.get(self.signature_header, "")
        signature.check(body, header, secrets=self._secrets, tolerance_s=settings.WEBHOOK_TOLERANCE_S)
        try:
            event = json.loads(body)
            event_id, kind = event["id"], event["type"]
            key = event["data"]["idempotency_key"] if kind in _TOLD else _key_of(event)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise Invalid("The body is not a valid event.") from error
        values = event_id, kind, key
        if not all(isinstance(value, str) and len(value) <= _LONGEST and value.isprintable() for value in values):
            raise Invalid("The body is not a valid event.")
        if not (event_id and kind and (key or kind not in _TOLD)):
            raise Invalid("The body is not a valid event.")
        return Event(event_id, kind, _TOLD.get(kind), key)

    def hear(self, told: Sequence[tuple[ChargeRequest, Outcome]]) -> None:
        """A success captures an uncaptured charge, a failure declines it. A captured charge stays captured."""
        for request, outcome in told:
            decided = "captured" if outcome is Outcome.SUCCEEDED else "declined"
            self._enter([request], outcome=decided)
            charge = SandboxCharge.objects.filter(idempotency_key=request.key)
            charge.exclude(outcome="captured").update(outcome=decided)
            if outcome is Outcome.SUCCEEDED:
                charge.filter(decided_at__gt=now()).update(decided_at=now())

    def refund(self, charge: ChargeRequest, refund_key: str, amount: Decimal) -> str:
        """
        Raises:
            NoSuchCharge: there is no such captured charge.
        """
        found = SandboxCharge.objects.filter(idempotency_key=charge.key, outcome="captured").first()
        if found is None:
            raise NoSuchCharge
        refund, _ = SandboxRefund.objects.get_or_create(
            idempotency_key=refund_key,
            defaults={"ref": f"re_{new_uuid().hex}", "charge": found, "amount": amount},
        )
        return refund.ref

    def captured(self, since: datetime) -> Iterator[Booked]:
        """Oldest first."""
        charges = SandboxCharge.objects.filter(outcome="captured", created_at__gte=since).order_by("pk")
        for one in charges.annotate(back=Coalesce(Sum("refund__amount"), Decimal(0))).iterator():
            yield Booked(one.idempotency_key, one.ref, one.amount, one.back, one.currency, one.created_at)


def _key_of(event: Mapping[str, Any]) -> str:
    data = event.get("data")
    key = data.get("idempotency_key") if isinstance(data, dict) else None
    return key if isinstance(key, str) and len(key) <= _LONGEST and key.isprintable() else ""


Service = Sandbox
