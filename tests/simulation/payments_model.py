"""Payments, and the sandbox provider with its own books."""

from tests.simulation.values import Answer, Clock

OPEN = ("created", "processing", "unknown")
DECIDED = ("succeeded", "failed")
FIRST_PAUSE_S = 3
ASKING_PAUSE_S = 2
LONGEST_PAUSE_S = 300
HEALS_AT = 3
SLOW_S = 2

PaymentId = tuple[int, int]


class Payment:
    __slots__ = ("applied", "attempts", "method", "next", "origin", "status", "updated")

    def __init__(self, method: str, origin: str, now: float) -> None:
        self.method, self.origin, self.applied, self.updated = method, origin, False, now
        self.status, self.attempts, self.next = "created", 0, now + FIRST_PAUSE_S
        if origin == "chain":  # which asks about it next
            self.status, self.attempts, self.next = "processing", 1, now + ASKING_PAUSE_S


class PaymentsModel:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.payments: dict[PaymentId, Payment] = {}
        self.refunds: dict[PaymentId, list] = {}  # payment -> [status, attempts, next]
        self.charges: dict[str, list] = {}  # idempotency key -> [payment, method, outcome, asked, decided at]
        self.given_back: set[PaymentId] = set()

    def open_payment(self, order: int, method: str, origin: str) -> PaymentId | None:
        earlier = [payment for pk, payment in self.payments.items() if pk[0] == order]
        if any(payment.status != "failed" for payment in earlier):
            return None
        pk = order, len(earlier)
        self.payments[pk] = Payment(method, origin, self.clock.now)
        return pk

    def open_of(self, orders: list[int]) -> list[PaymentId]:
        return sorted(pk for pk, payment in self.payments.items() if pk[0] in orders and payment.status in OPEN)

    def succeeded_of(self, order: int) -> list[PaymentId]:
        return [pk for pk, payment in self.payments.items() if pk[0] == order and payment.status == "succeeded"]

    def paid_by_customer(self, order: int, method: str) -> bool:
        found = (self.payments[pk] for pk in self.succeeded_of(order))
        return any(payment.origin == "customer" and payment.method == method for payment in found)

    # asking

    def processing(self, ids: list[PaymentId]) -> list[PaymentId]:
        asked = [pk for pk in dict.fromkeys(ids) if self._is_due(self.payments[pk])]
        for pk in asked:
            payment = self.payments[pk]
            payment.status = "processing"
            payment.next = self.clock.now + min(LONGEST_PAUSE_S, 2 ** min(payment.attempts, 12))
            payment.attempts += 1
        return asked

    def _is_due(self, payment: Payment) -> bool:
        return payment.status == "created" or (payment.status in OPEN and payment.next <= self.clock.now)

    def key_of(self, pk: PaymentId) -> str:
        return f"{pk[0]}.{pk[1]}"

    def charge(self, ids: list[PaymentId]) -> list[Answer]:
        answers = [Answer(pk, self._charge(pk)) for pk in ids]
        return [answer for answer in answers if answer.status]

    def _charge(self, pk: PaymentId) -> str:
        key, now = self.key_of(pk), self.clock.now
        first = key not in self.charges
        if first:
            method = self.payments[pk].method
            outcome = {"pm_declined": "declined", "pm_unavailable": "unavailable"}.get(method, "captured")
            self.charges[key] = [pk, method, outcome, 1, now + SLOW_S * (method == "pm_slow")]
        charge = self.charges[key]
        if not first:
            charge[3] += 1
            if charge[1] == "pm_unavailable" and charge[3] >= HEALS_AT:
                charge[2] = "captured"
        if first and charge[1] == "pm_unknown":
            return "unknown"
        if charge[4] > now:
            return ""
        return {"captured": "succeeded", "declined": "failed", "unavailable": ""}[charge[2]]

    def ask(self, ids: list[PaymentId], fresh: list[PaymentId]) -> list[Answer]:
        mine = [pk for pk in fresh if (self.payments[pk].status, self.payments[pk].attempts) == ("processing", 1)]
        return sorted(self.charge([*mine, *self.processing(ids)]))

    def captured(self, order: int) -> list[PaymentId]:
        """Charges of an order that took money, given back or not."""
        return [charge[0] for charge in self.charges.values() if charge[0][0] == order and charge[2] == "captured"]

    # what was said

    def record(self, answers: list[Answer], *, applied: bool) -> list[PaymentId]:
        captured = []
        for pk, status in answers:
            payment = self.payments[pk]
            is_late = payment.status == "failed" and status == "succeeded"
            is_told_again = payment.status == status and not payment.applied
            if payment.status not in OPEN and not is_late and not is_told_again:
                continue
            payment.status = status
            payment.applied = applied and status in DECIDED
            if status == "succeeded":
                captured.append(pk)
        return captured

    def untold(self, ids: list[PaymentId] | None = None) -> list[Answer]:
        wanted = self.payments if ids is None else ids
        found = ((pk, self.payments[pk]) for pk in wanted)
        return sorted(Answer(pk, one.status) for pk, one in found if one.status in DECIDED and not one.applied)

    def webhook(self, pk: PaymentId) -> bool:
        """The provider tells what it knows of its own accord; False when it has nothing to tell."""
        charge = self.charges.get(self.key_of(pk))
        status = charge and {"captured": "succeeded", "declined": "failed"}.get(charge[2])
        if not status:
            return False
        self.record([Answer(pk, status)], applied=False)
        return True

    def due(self) -> list[PaymentId]:
        rows = self.payments.items()
        return sorted(pk for pk, payment in rows if payment.status in OPEN and payment.next <= self.clock.now)

    # giving back

    def request_refund(self, pk: PaymentId) -> None:
        self.refunds.setdefault(pk, ["requested", 0, self.clock.now])

    def due_refunds(self) -> list[PaymentId]:
        rows = self.refunds.items()
        due = [pk for pk, (status, _, at) in rows if status == "requested" and at <= self.clock.now]
        for pk in due:
            refund = self.refunds[pk]
            refund[2] = self.clock.now + min(LONGEST_PAUSE_S, 2 ** min(refund[1], 12))
            refund[1] += 1
        return due

    def give_back(self, pk: PaymentId) -> None:
        assert self.key_of(pk) in self.charges, "a refund of no charge"
        self.given_back.add(pk)

    def refunded(self, pk: PaymentId) -> None:
        self.refunds[pk][0] = "succeeded"

    def process_refunds(self) -> int:
        due = self.due_refunds()
        for pk in due:
            self.give_back(pk)
            self.refunded(pk)
        return len(due)
