"""The whole system as a model: gate, ledger and provider behind one list of calls."""

from tests.simulation.gate_model import GateModel
from tests.simulation.ledger_model import LedgerModel
from tests.simulation.values import Clock


class Model:
    """Each attribute of ``calls`` is atomic; what happens between two of them is the scheduler's business."""

    def __init__(self, *, units: int, per_customer: int) -> None:
        self.clock = Clock()
        self.gate = gate = GateModel(self.clock, per_customer)
        self.ledger = ledger = LedgerModel(self.clock, units, per_customer)
        self.payments = payments = ledger.payments
        self.calls = {
            "gate_issue": gate.issue,
            "gate_admit": gate.admit,
            "gate_waiting": gate.waiting,
            "gate_claim": gate.claim,
            "gate_steal": gate.steal,
            "gate_ack": gate.ack,
            "gate_settle": gate.settle,
            "gate_release": gate.release,
            "gate_expired": gate.expired,
            "gate_begin": gate.begin,
            "gate_open": gate.open,
            "gate_stream": lambda: list(gate.stream.values()),
            "gate_versions": gate.versions,
            "gate_configure": gate.configure,
            "gate_withhold": gate.withhold,
            "lock_acquire": gate.acquire,
            "lock_release": gate.unlock,
            "known": ledger.known,
            "deduct": ledger.deduct,
            "create": ledger.create,
            "request_payments": ledger.request_payments,
            "unpaid_of": ledger.unpaid_of,
            "apply_answers": ledger.apply_answers,
            "pay": ledger.pay,
            "cancel": ledger.cancel,
            "cancel_unpaid": ledger.cancel_unpaid,
            "refund_by_staff": ledger.refund_by_staff,
            "by_source_seq": ledger.by_source_seq,
            "stale_intake": ledger.stale_intake,
            "stale_reserved": ledger.stale_reserved,
            "pending_effects": ledger.pending_effects,
            "forget_effects": ledger.forget_effects,
            "ledger_view": lambda _fence, streamed: ledger.view(streamed),
            "ledger_terms": ledger.terms,
            "ledger_versions": lambda: (ledger.version, ledger.allocated),
            "touch_gate": ledger.touch_gate,
            "start_gate": ledger.start_gate,
            "adjust": ledger.adjust,
            "ask": payments.ask,
            "processing": payments.processing,
            "provider_charge": payments.charge,
            "untold": payments.untold,
            "webhook": payments.webhook,
            "due_payments": payments.due,
            "due_refunds": payments.due_refunds,
            "provider_refund": payments.give_back,
            "refunded": payments.refunded,
            "process_refunds": payments.process_refunds,
        }

    def call(self, name: str, *args):
        self.clock.ticks += 1
        return self.calls[name](*args)

    def lose_gate(self) -> None:
        self.gate.lose()

    def inflate(self, units: int) -> None:
        """The gate is wrong: it has units that the ledger has not."""
        if self.gate.present and not self.gate.rebuilding:
            self.gate.stock += units

    def advance(self, seconds: float) -> None:
        self.clock.now += seconds
