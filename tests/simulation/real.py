"""The product under the model's calls: the real scripts on Valkey, the real services on PostgreSQL.

Where the real task does several things in one function the pieces are called in its order; see ``test_order_of_pieces.py``.
"""

from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from uuid import UUID, uuid4

from django.contrib.auth import get_user_model
from django.db import connection, transaction

from flashsale.core.clock import now
from flashsale.core.errors import FlashsaleError, RateLimited
from flashsale.core.lock import FencedLock
from flashsale.core.redis_client import gate_client
from inventory import errors
from inventory import selectors as stock
from inventory import services as inventory
from inventory.admission import gate, keys, new_gates
from inventory.admission.admitted import ItemTerms
from orders import order_ids, selectors, services
from orders.errors import NotCancellable, NotPayable, OrderNotFound
from orders.models import EffectBatch, Intake, Order
from payments import services as payments
from payments.models import Payment, SandboxCharge
from tasks.repair import rebuild as rebuilding
from tests.conftest import asked
from tests.simulation.real_clock import RealClock
from tests.simulation.values import Admitted, Answer, Terms

_LOCK_TTL_MS = 30_000
_MOST = 1_000
_ENDS = ("paid", "cancelled", "rejected", "refunded")
_ADMISSION = {
    errors.GateMissing: "gate_missing",
    errors.Paused: "paused",
    errors.SoldOut: "sold_out",
    errors.TokenInvalid: "token_invalid",
    errors.TokenUsed: "token_used",
    errors.LimitPerCustomer: "limit_per_customer",
    errors.TooManyUnpaid: "too_many_unpaid",
    errors.IdempotencyMismatch: "mismatch",
    errors.SeqTaken: "seq_taken",
    RateLimited: "rate_limited",
}


def _forget_broken_runs() -> None:
    """A run that broke left orders that the next one's sweeps would find."""
    if Intake.objects.exists() or EffectBatch.objects.exists() or Order.objects.exclude(status__in=_ENDS).exists():
        with connection.cursor() as cursor:
            cursor.execute(
                "TRUNCATE orders_order, orders_eventline, orders_intake, orders_effectbatch, payments_payment CASCADE"
            )


class Names:
    """The model's numbers and the product's ids."""

    def __init__(self) -> None:
        self.orders: dict[int, Admitted] = {}
        self.uuids: dict[int, UUID] = {}
        self.numbers: dict[UUID, int] = {}
        self.entries: dict[int, gate.Entry] = {}
        self.tokens: dict[str, str] = {}
        self.payments: dict[tuple[int, int], UUID] = {}
        self.payment_names: dict[str, tuple[int, int]] = {}  # by idempotency key
        self.effects: dict[int, int] = {}
        self.fences: dict[int, int] = {}

    def order(self, order: Admitted, pk: UUID) -> None:
        self.orders[order.id], self.uuids[order.id], self.numbers[pk] = order, pk, order.id

    def learn_payments(self) -> None:
        """Give names to the payments that are new."""
        rows = Payment.objects.filter(order_id__in=list(self.numbers)).order_by("created_at", "pk")
        for pk, order in rows.values_list("pk", "order_id"):
            if pk.hex not in self.payment_names:
                number = self.numbers[order]
                name = number, sum(known[0] == number for known in self.payments)
                self.payments[name], self.payment_names[pk.hex] = pk, name

    def answers(self, said: list[payments.Answer]) -> list[Answer]:
        return sorted(Answer(self.payment_names[answer.key], str(answer.status)) for answer in said)


class Real:
    """Each method is one call of the model, made on the product and answered in the model's words."""

    def __init__(self, *, units: int, per_customer: int) -> None:
        gate_client().flushall()
        _forget_broken_runs()
        sale = inventory.create_sale(
            slug=uuid4().hex,
            name="simulated",
            opens_at=now() - timedelta(days=1),
            closes_at=now() + timedelta(days=30),
            payment_window=timedelta(seconds=600),
        )
        price = Decimal("10.00")
        item = inventory.add_item(sale=sale, sku="thing", name="thing", units=units, price=price, per_customer=per_customer)
        self.item = item.pk
        self.source = f"simulated-{self.item}"
        users = get_user_model().objects
        self.customers = [users.get_or_create(username=f"simulated{number}")[0].pk for number in range(4)]
        self.names = Names()
        self.locks: dict[str, FencedLock] = {}
        self.terms: dict[Terms, ItemTerms] = {}
        self.staged: dict[int, new_gates.NewGate] = {}
        self.clock = RealClock(self.item)

    def call(self, name: str, *args):
        self.clock.hold()
        return getattr(self, name)(*args)

    def _ids(self, numbers) -> list[UUID]:
        return [self.names.uuids[number] for number in numbers]

    def _numbers(self, ids) -> list[int]:
        return sorted(self.names.numbers[pk] for pk in ids)

    def _customer(self, number: int) -> int:
        return self.customers[self.names.orders[number].customer]

    # gate: people

    def gate_issue(self, customer, token):
        try:
            self.names.tokens[token] = gate.issue_token(self.item, self.customers[customer]).token
        except FlashsaleError as error:
            return _ADMISSION[type(error)]
        return "ok"

    def gate_admit(self, order: Admitted, token):
        pk = order_ids.new(self.item, self.customers[order.customer])
        try:
            admission = gate.admit(
                self.item,
                customer=self.customers[order.customer],
                sku="thing",
                units=order.units,
                token=self.names.tokens.get(token, "none"),
                order_id=pk,
                source=self.source,
                seq=order.seq,
                digest=order.digest.encode().hex(),
                method=order.method,
            )
        except FlashsaleError as error:
            return _ADMISSION[type(error)], 0, False
        if not admission.replayed:
            self.names.order(order, pk)
        known = self.names.numbers[admission.order_id]
        return "replayed" if admission.replayed else "admitted", known, admission.wake

    def by_source_seq(self, seq):
        found = selectors.by_source_seq(self.source, seq)
        if not found:
            return None
        pk, customer, digest = found
        return self.names.numbers[pk], self.customers.index(customer), bytes.fromhex(digest).decode()

    # gate: the stream

    def gate_waiting(self):
        return gate.waiting([self.item])[self.item]

    def _claimed(self, claim: gate.Claim) -> list[Admitted]:
        found = []
        for entry in claim.entries:
            number = self.names.numbers[entry[1].id]
            self.names.entries[number] = entry
            found.append(self.names.orders[number]._replace(life=entry[1].life))
        return found

    def gate_claim(self, limit, in_flight):
        return self._claimed(gate.claim(self.item, consumer="owner", limit=limit, in_flight=in_flight))

    def gate_steal(self):
        return self._claimed(gate.steal(self.item, consumer="thief", idle_ms=3_000, limit=_MOST))

    def gate_ack(self, orders):
        return gate.ack(self.item, [self.names.entries[order.id] for order in orders])

    # gate: effects and terms

    def gate_settle(self, numbers):
        return gate.settle(self.item, self._ids(numbers)).name.lower()

    def gate_release(self, numbers):
        return gate.release(self.item, self._ids(numbers)).name.lower()

    def gate_expired(self, numbers):
        return gate.release(self.item, self._ids(numbers), left_unpaid=True).name.lower()

    def gate_versions(self):
        return gate.versions([self.item])[self.item]

    def gate_withhold(self, units):
        return gate.withhold(self.item, units).name.lower()

    def gate_configure(self, terms, seen):
        return gate.configure(self.terms[terms], seen).name.lower()

    # gate: rebuild

    def lock_acquire(self, name, owner):
        self.locks[owner] = FencedLock(gate_client(), f"{name}:{self.item}", ttl_ms=_LOCK_TTL_MS)
        return self.locks[owner].acquire() or 0

    def lock_release(self, name, owner):
        self.locks[owner].release()

    def gate_begin(self, fence):
        begun = new_gates.begin({self.item: self.names.fences[fence]})
        return {None: "fenced", True: "done", False: "gate_missing"}[begun.get(self.item)]

    def gate_stream(self):
        self.streamed = rebuilding.streamed_orders([self.item])
        return [self.names.numbers[order.id] for order in self.streamed]

    def ledger_view(self, fence, streamed):
        known = {order.id: order for order in self._streamed(streamed)}
        fences = {self.item: self.names.fences[fence]}
        self.staged[fence] = made = rebuilding.stage([self.item], fences, list(known.values()), lambda: None)[self.item].gate
        return (made.terms.version, made.terms.allocated, made.terms.life), made.stock, made.sold

    def _streamed(self, orders: list[Admitted]):
        for order in orders:
            yield rebuilding.Streamed(self.names.uuids[order.id], self.item, self.customers[order.customer], order.units)

    def gate_open(self, fence, view):
        return new_gates.open_gates([self.staged[fence]])[self.item].name.lower()

    def start_gate(self, lost):
        inventory.start_gates([self.item], lost=[self.item] if lost else [])

    def touch_gate(self):
        inventory.touch_gate([self.item])

    def ledger_versions(self):
        return stock.gate_versions([self.item])[self.item]

    def ledger_terms(self):
        read = stock.terms([self.item])[0]
        terms = Terms(read.version, read.allocated, read.life)
        self.terms[terms] = read
        return terms

    def adjust(self, units, version):
        try:
            inventory.adjust_stock(item_id=self.item, units=units, actor="simulation", reason="x", gate_version=version)
        except errors.NotEnoughStock:
            return "not_enough_stock"
        except errors.TermsChanged:
            return "changed"
        return "ok"

    # orders

    def deduct(self, orders):
        admitted = [self.names.entries[order.id][1] for order in orders]
        return [self.names.numbers[pk] for pk in services.deduct(self.item, admitted)]

    def create(self, numbers):
        return [self.names.numbers[pk] for pk in services.create(self._ids(numbers)).ids]

    def request_payments(self, numbers):
        opened = services.request_payments(self._ids(numbers))
        self.names.learn_payments()
        names = self.names.payment_names
        return sorted(names[pk.hex] for pk in opened.fresh), sorted(names[pk.hex] for pk in opened.others)

    def unpaid_of(self, numbers):
        return self._numbers(pk for pk, _ in selectors.unpaid_of(self._ids(numbers)))

    def pay(self, number, method):
        try:
            opened = services.pay(self.names.uuids[number], self._customer(number), method)
        except (NotPayable, OrderNotFound) as error:
            return "not_payable" if isinstance(error, NotPayable) else "not_found"
        self.names.learn_payments()
        return self.names.payment_names[opened.hex] if opened else "repeated"

    def cancel(self, number):
        try:
            services.cancel(self.names.uuids[number], self._customer(number))
        except (NotCancellable, OrderNotFound) as error:
            return "not_cancellable" if isinstance(error, NotCancellable) else "not_found"
        return "ok"

    def cancel_unpaid(self):
        return services.cancel_unpaid(_MOST)

    def refund_by_staff(self, number):
        with suppress(NotCancellable):
            services.refund_by_staff(self.names.uuids[number], "simulation")
            return "ok"
        return "not_cancellable"

    def stale_intake(self):
        return self._numbers(services.stale_intake(_MOST))

    def stale_reserved(self):
        return self._numbers(services.stale_reserved(_MOST))

    def pending_effects(self):
        with transaction.atomic():
            grouped = services.lock_effects(_MOST)
        return {str(effect.kind): self._numbers(effect.orders) for effect in grouped}

    def forget_effects(self, numbers):
        rows = sorted(
            {self.names.effects[number] for number in numbers}
        )  # a kind is told as a whole: rows are never told in part
        services.forget_effects([services.Effect(self.item, "", batches=rows)])

    # payments

    def ask(self, names, fresh):
        ids = self.names.payments
        return self.names.answers(asked([ids[name] for name in names], [ids[name] for name in fresh]))

    def apply_answers(self, answers):
        services.apply_answers([self._said(answer) for answer in answers])

    def _said(self, answer: Answer) -> payments.Answer:
        key = self.names.payments[answer.payment].hex
        return payments.Answer(self.names.uuids[answer.payment[0]], key, answer.status, "")

    def untold(self, names):
        ids = payments.decided_payments(_MOST) if names is None else [self.names.payments[name] for name in names]
        return self.names.answers(payments.untold_answers(ids))

    def webhook(self, name):
        charge = SandboxCharge.objects.filter(idempotency_key=self.names.payments[name].hex).first()
        status = {"captured": "succeeded", "declined": "failed"}.get(charge.outcome) if charge else None
        if status:
            payments.record([self._said(Answer(name, status))], applied=False)
        return bool(status)

    def due_payments(self):
        return sorted(self.names.payment_names[pk.hex] for pk in payments.due_payments(_MOST))

    def process_refunds(self):
        return payments.process_refunds(_MOST)

    # what happens to the machine

    def lose_gate(self) -> None:
        gate_client().flushall()

    def inflate(self, units: int) -> None:
        gate_client().incrby(keys.stock(self.item), units)
