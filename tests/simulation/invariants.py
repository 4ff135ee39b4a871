"""What must hold after every step, and what must hold at the end."""

from orders.states import TRANSITIONS
from tests.simulation.ledger_model import BOUGHT, HOLDING, LedgerModel
from tests.simulation.model import Model

_LEGAL = {(str(a), str(b)) for a, targets in TRANSITIONS.items() for b in targets} | {("", "queued")}
_END = ("paid", "refunded", "cancelled", "rejected")


class Broken(AssertionError):
    """An invariant is broken."""

    def __init__(self, name: str, details: object = "") -> None:
        super().__init__(f"{name}: {details}" if details != "" else name)
        self.name = name


def require(holds: object, name: str, details: object = "") -> None:
    if not holds:
        raise Broken(name, details)


class Watch:
    """Looks at a model after each step; remembers what was promised to whom."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.promised: dict[tuple[int, str, str], int] = {}  # customer, seq, digest -> order
        self.acknowledged: set[int] = set()
        self.may_be_missing: set[int] = set()  # admitted, not in the ledger when the gate was lost
        self.gate_was_lost = self.gate_was_wrong = False
        self._events_seen = 0
        self._last: dict[int, str] = {}

    def asked(self, order) -> bool:
        """A customer asks; whether the same request was promised an order before."""
        return (order.customer, order.seq, order.digest) in self.promised

    def answered(self, order, was_promised, code, known) -> None:
        """A customer hears ``code``."""
        request = order.customer, order.seq, order.digest
        if code not in ("admitted", "replayed"):
            require(self.gate_was_lost or not was_promised, "same request, same answer", (request, code))
            return
        first = self.promised.setdefault(request, known)
        if first in self.may_be_missing and first not in self.model.ledger.rows:
            self.promised[request] = known
            return
        require(first == known, "same request, same answer", (request, first, known))

    def lost_gate(self) -> None:
        self.gate_was_lost = True
        ledger = self.model.ledger
        self.may_be_missing |= {pk for pk in self.acknowledged if pk not in ledger.rows and pk not in ledger.intake}

    def after_step(self, touched_ledger: bool) -> None:
        gate, ledger = self.model.gate, self.model.ledger
        self.acknowledged.update(gate.stream)
        if touched_ledger:
            self._ledger(ledger)
        if gate.present and not gate.rebuilding and not (self.gate_was_wrong or self.gate_was_lost):
            held = sum([units for _, units in gate.held.values()])
            require(gate.stock + held + gate.sold == gate.allocated, "gate: stock + held + sold = allocated")
            unknown = sum([o.units for pk, o in gate.stream.items() if pk not in ledger.rows and pk not in ledger.intake])
            require(gate.stock + unknown <= ledger.available, "the gate promises no unit that the ledger has not")

    def _ledger(self, ledger: LedgerModel) -> None:
        require(min(ledger.available, ledger.reserved, ledger.sold) >= 0, "no oversell")
        require(ledger.allocated == ledger.available + ledger.reserved + ledger.sold, "allocated = available + reserved + sold")
        reserved = sum([order.units for order, reason, _ in ledger.intake.values() if not reason])
        sold = 0
        seqs = set()
        for row in ledger.rows.values():
            if row.reason != "seq_taken":
                require(row.seq not in seqs, "one order per source and seq", row.seq)
                seqs.add(row.seq)
            in_time = row.expires > ledger.clock.now
            require(not in_time or row.reason != "payment_timeout", "nobody is cancelled before the deadline", row.seq)
            if row.status in HOLDING:
                reserved += row.order.units
            elif row.status in BOUGHT:
                sold += row.order.units
            require(
                row.reason != "sold_out" or self.gate_was_wrong or self.gate_was_lost, "nobody is promised what is not there"
            )
        require((reserved, sold) == (ledger.reserved, ledger.sold), "reserved and sold are those of the orders")
        per_customer = ledger.units_of()
        require(all(units <= ledger.per_customer for units in per_customer.values()), "limit per customer", per_customer)
        for pk, status in ledger.events[self._events_seen :]:
            step = self._last.get(pk, ""), status
            require(step in _LEGAL, "only legal transitions", (pk, step))
            self._last[pk] = status
        self._events_seen = len(ledger.events)
        self._money()

    def _money(self) -> None:
        taken: dict[int, int] = {}
        for (order, _), _, outcome, _, _ in self.model.payments.charges.values():
            taken[order] = taken.get(order, 0) + (outcome == "captured")
        require(all(count <= 1 for count in taken.values()), "at most one capture per order", taken)

    def is_quiet(self) -> bool:
        """Nobody has anything left to do."""
        gate, ledger, payments = self.model.gate, self.model.ledger, self.model.payments
        return (
            not (gate.stream or gate.rebuilding or ledger.intake or ledger.effects)
            and gate.versions() == (ledger.version, ledger.allocated)
            and all(row.status in _END for row in ledger.rows.values())
            and all(payment.applied for payment in payments.payments.values())
            and all(refund[0] == "succeeded" for refund in payments.refunds.values())
        )

    def at_the_end(self) -> None:
        """After the drain."""
        ledger, gate, payments = self.model.ledger, self.model.gate, self.model.payments
        self.after_step(touched_ledger=True)
        require(not gate.stream and not ledger.intake and not ledger.effects, "nothing is left in stream, intake and outbox")
        stuck = {pk: row.status for pk, row in ledger.rows.items() if row.status not in _END}
        require(not stuck, "every order ends", stuck)
        missing = self.acknowledged - ledger.rows.keys() - self.may_be_missing
        require(not missing, "no acknowledged order is lost", missing)
        require(ledger.rows.keys() <= self.acknowledged, "no order that nobody asked for")
        for name, payment in payments.payments.items():
            require(payment.status in ("succeeded", "failed") and payment.applied, "every payment is decided and told", name)
        for pk, row in ledger.rows.items():
            kept = [charge for charge in payments.captured(pk) if charge not in payments.given_back]
            require(len(kept) == (row.status == "paid"), "paid = captured - refunded", (pk, row.status, kept))
        require(all(refund[0] == "succeeded" for refund in payments.refunds.values()), "every refund is done")
        view = ledger.view([])
        seen = gate.stock, gate.sold, gate.held, gate.buyers, gate.version, gate.allocated, gate.life
        require(gate.present and not gate.rebuilding, "the gate is open")
        require(seen == (view.stock, view.sold, view.held, view.buyers, *view.terms), "gate equals ledger", (seen, view))
