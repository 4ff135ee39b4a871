"""Stock and orders as their services promise them: each method is one transaction. Knows one item."""

from tests.simulation.payments_model import PaymentsModel
from tests.simulation.values import Admitted, Answer, Clock, Terms, View

PAYMENT_WINDOW_S = 600
STALE_AFTER_S = 3
METHODS = ("pm_ok", "pm_declined", "pm_unavailable", "pm_unknown", "pm_slow")
SOURCES = {
    "pending_payment": ("reserved",),
    "paid": ("pending_payment",),
    "cancelled": ("reserved", "pending_payment"),
    "refunded": ("paid",),
}
HOLDING, BOUGHT = ("reserved", "pending_payment"), ("paid", "refunded")


class Row:
    __slots__ = ("expires", "order", "reason", "seq", "status", "updated")

    def __init__(self, order: Admitted, status: str, reason: str, now: float) -> None:
        self.order, self.status, self.reason, self.seq = order, status, reason, order.seq
        self.expires, self.updated = now + PAYMENT_WINDOW_S, now


class LedgerModel:
    def __init__(self, clock: Clock, units: int, per_customer: int) -> None:
        self.clock = clock
        self.per_customer = per_customer
        self.allocated = self.available = units
        self.reserved = self.sold = 0
        self.version, self.life = 2, 0
        self.movements: set[tuple[int, str]] = set()
        self.intake: dict[int, tuple[Admitted, str, float]] = {}
        self.rows: dict[int, Row] = {}
        self.by_seq: dict[str, int] = {}
        self.events: list[tuple[int, str]] = []
        self.effects: list[tuple[int, str, int]] = []
        self.effect_count = 0
        self.payments = PaymentsModel(clock)

    # the stream's orders

    def known(self, ids: list[int]) -> set[int]:
        return {pk for pk in ids if pk in self.rows or pk in self.intake}

    def deduct(self, orders: list[Admitted], known: set[int] | None = None) -> list[int]:
        ids = [order.id for order in orders]
        known = self.known(ids) if known is None else known
        fresh = [order for order in orders if order.id not in known]
        over = self.over_limit(fresh) if self.life > 1 else set()
        for order in fresh:
            reason = self._refusal(order, over)
            if not reason:
                self._reserve(order)
            if order.id not in self.intake:
                self.intake[order.id] = order, reason, self.clock.now
            if order.life != self.life:
                self._effect("rebuild", order.id)
        return ids

    def over_limit(self, orders: list[Admitted]) -> set[int]:
        """A gate that was lost has forgotten what its customers had."""
        units_of, over = self.units_of(), set()
        for order in orders:
            if units_of.get(order.customer, 0) + order.units > self.per_customer:
                over.add(order.id)
            else:
                units_of[order.customer] = units_of.get(order.customer, 0) + order.units
        return over

    def _refusal(self, order: Admitted, over: set[int]) -> str:
        if order.id in over:
            return "limit_per_customer"
        return "" if self.available >= order.units else "sold_out"

    def _reserve(self, order: Admitted) -> None:
        self.movements.add((order.id, "reserve"))
        self.available -= order.units
        self.reserved += order.units

    def units_of(self) -> dict[int, int]:
        """customer -> units held or bought"""
        found: dict[int, int] = {}
        for order, reason, _ in self.intake.values():
            if not reason:
                found[order.customer] = found.get(order.customer, 0) + order.units
        for row in self.rows.values():
            if row.status in HOLDING or row.status in BOUGHT:
                found[row.order.customer] = found.get(row.order.customer, 0) + row.order.units
        return found

    def create(self, ids: list[int]) -> list[int]:
        for pk in sorted(ids):
            if pk not in self.intake:
                continue
            order, reason, _ = self.intake.pop(pk)
            row = Row(order, "rejected" if reason else "reserved", reason, self.clock.now)
            clashed = order.seq in self.by_seq
            if clashed:
                row.seq, row.status, row.reason = f"{order.seq}~", "rejected", "seq_taken"
            else:
                self.by_seq[order.seq] = pk
            self.rows[pk] = row
            self.events += [(pk, "queued"), (pk, row.status)]
            if reason:
                self._effect("rebuild", pk)
            elif clashed:
                self._release(row)
        return ids

    def by_source_seq(self, seq: str) -> tuple[int, int, str] | None:
        pk = self.by_seq.get(seq)
        waiting = (order for order, _, _ in self.intake.values() if order.seq == seq)
        order = self.rows[pk].order if pk is not None else next(waiting, None)
        return order and (order.id, order.customer, order.digest)

    # an order's way

    def _advance(self, ids: list[int], target: str, reason: str = "") -> list[Row]:
        moved = []
        for pk in dict.fromkeys(ids):
            row = self.rows.get(pk)
            if row and row.status in SOURCES[target]:
                row.status, row.reason, row.updated = target, reason, self.clock.now
                self.events.append((pk, target))
                moved.append(row)
        return moved

    def _effect(self, kind: str, order: int) -> None:
        self.effect_count += 1
        self.effects.append((self.effect_count, kind, order))

    def _release(self, row: Row, kind: str = "release") -> None:
        pk, units = row.order.id, row.order.units
        if (pk, "release") not in self.movements:
            self.movements.add((pk, "release"))
            self.reserved -= units
            self.available += units
            self._effect(kind, pk)

    def _sell(self, row: Row) -> None:
        pk, units = row.order.id, row.order.units
        if (pk, "sell") not in self.movements:
            self.movements.add((pk, "sell"))
            self.reserved -= units
            self.sold += units
            self._effect("settle", pk)

    def request_payments(self, ids: list[int]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Those opened now, and the others that are open."""
        rows = [row.order for row in self._advance(ids, "pending_payment") if row.order.method in METHODS]
        opened = [self.payments.open_payment(order.id, order.method, "chain") for order in rows]
        fresh = [pk for pk in opened if pk]
        return sorted(fresh), [pk for pk in self.payments.open_of(ids) if pk not in fresh]

    def unpaid_of(self, ids: list[int]) -> list[int]:
        return [pk for pk in ids if pk in self.rows and self.rows[pk].status == "pending_payment"]

    def apply_answers(self, answers: list[Answer]) -> None:
        captured = self.payments.record(answers, applied=True)
        rows = self._advance(sorted({pk[0] for pk in captured}), "paid")
        for row in rows:
            self._sell(row)
        paid = {row.order.id for row in rows}
        for payment in captured:
            if payment[0] in paid:
                paid.discard(payment[0])
            else:
                self.payments.request_refund(payment)

    def pay(self, pk: int, method: str) -> tuple[int, int] | str:
        row = self.rows.get(pk)
        if row is None:
            return "not_found"
        if row.status == "pending_payment" and row.expires > self.clock.now:
            return self.payments.open_payment(pk, method, "customer") or "repeated"
        repeated = self.payments.paid_by_customer(pk, method)
        return "repeated" if row.status == "paid" and repeated else "not_payable"

    def _cancel(self, rows: list[Row], kind: str = "release") -> int:
        for row in rows:
            self._release(row, kind)
        return len(rows)

    def cancel(self, pk: int) -> str:
        if pk not in self.rows:
            return "not_found"
        is_late = self.rows[pk].expires - self.clock.now < PAYMENT_WINDOW_S / 2
        kind = "expired" if is_late else "release"
        done = self.rows[pk].status == "cancelled" or self._cancel(self._advance([pk], "cancelled", "by_customer"), kind)
        return "ok" if done else "not_cancellable"

    def cancel_unpaid(self) -> int:
        overdue = [pk for pk in sorted(self.rows) if self._overdue(self.rows[pk], self.clock.now)]
        return self._cancel(self._advance(overdue, "cancelled", "payment_timeout"), "expired")

    def _overdue(self, row: Row, now: float) -> bool:
        return row.status == "pending_payment" and row.expires <= now

    def refund_by_staff(self, pk: int) -> str:
        if not self._advance([pk], "refunded", "by_staff"):
            return "not_cancellable"
        for captured in self.payments.succeeded_of(pk):
            self.payments.request_refund(captured)
        return "ok"

    # what sweeps look for

    def stale_intake(self) -> list[int]:
        return sorted(pk for pk, (_, _, at) in self.intake.items() if at < self.clock.now - STALE_AFTER_S)

    def stale_reserved(self) -> list[int]:
        rows = self.rows.items()
        return sorted(pk for pk, row in rows if row.status == "reserved" and row.updated < self.clock.now - STALE_AFTER_S)

    def pending_effects(self) -> list[tuple[str, list[tuple[int, int]]]]:
        grouped: dict[str, list[tuple[int, int]]] = {}
        for number, kind, order in self.effects:
            grouped.setdefault(kind, []).append((number, order))
        return list(grouped.items())

    def forget_effects(self, numbers: list[int]) -> None:
        self.effects = [effect for effect in self.effects if effect[0] not in numbers]

    # the gate's terms

    def terms(self) -> Terms:
        return Terms(self.version, self.allocated, self.life)

    def touch_gate(self) -> None:
        self.version += 1

    def start_gate(self, lost: bool) -> None:
        self.version += 1
        self.life += lost

    def adjust(self, units: int, version: int) -> str:
        if self.available < -units or (units < 0 and self.version != version):
            return "not_enough_stock" if self.available < -units else "changed"
        self.allocated += units
        self.available += units
        self.version += 1
        return "ok"

    def view(self, streamed: list[Admitted]) -> View:
        only_streamed = [order for order in streamed if order.id not in self.rows and order.id not in self.intake]
        held = {order.id: (order.customer, order.units) for order, reason, _ in self.intake.values() if not reason}
        for pk, row in self.rows.items():
            if row.status in HOLDING:
                held[pk] = row.order.customer, row.order.units
        buyers = self.units_of()
        for order in only_streamed:
            held[order.id] = order.customer, order.units
            buyers[order.customer] = buyers.get(order.customer, 0) + order.units
        stock = self.available - sum(order.units for order in only_streamed)
        return View(self.terms(), stock, self.sold, held, buyers, self.clock.now)
