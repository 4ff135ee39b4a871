"""Model and product side by side: after each call both have answered and left the same."""

import json
from collections import Counter
from uuid import UUID

from django.db import connection

from flashsale.core.redis_client import gate_client
from inventory.admission import gate, keys
from tests.simulation.invariants import require
from tests.simulation.model import Model
from tests.simulation.real import Real
from tests.simulation.scheduler import Plan, Run
from tests.simulation.steps import Steps

# Where order or number is nobody's business, or the answer is the model's alone.
_ALIKE = {
    "lock_acquire": bool,
    "unpaid_of": sorted,
    "gate_stream": lambda orders: [getattr(order, "id", order) for order in orders],
    "ledger_view": lambda view: (tuple(view[0]), *view[1:3]),
    "pending_effects": lambda found: {k: sorted(o for _, o in v) for k, v in found} if isinstance(found, list) else found,
}
# These write nothing; were it otherwise, the comparison after the next one that writes would find it.
_READS = frozenset(
    {
        "by_source_seq",
        "due_payments",
        "gate_stream",
        "gate_versions",
        "gate_waiting",
        "ledger_terms",
        "ledger_versions",
        "ledger_view",
        "pending_effects",
        "stale_intake",
        "stale_reserved",
        "unpaid_of",
        "untold",
    }
)
_BOOKS = """
SELECT json_build_object(
    'item', (SELECT json_build_array(allocated, available, reserved, sold, gate_version, gate_life)
        FROM inventory_saleitem WHERE id = %(item)s),
    'orders', (SELECT json_agg(json_build_array(id, status, reason)) FROM orders_order WHERE item_id = %(item)s),
    'intake', (SELECT json_agg(json_build_array(id, reason)) FROM orders_intake WHERE item_id = %(item)s),
    'events', (SELECT count(*) FROM orders_orderevent e JOIN orders_order o ON o.id = e.order_id WHERE item_id = %(item)s),
    'effects', (SELECT json_agg(json_build_array(id, kind, order_id) ORDER BY id)
        FROM orders_effectbatch, unnest(order_ids) order_id WHERE item_id = %(item)s),
    'payments', (SELECT json_agg(json_build_array(p.idempotency_key, p.status, p.applied_at IS NOT NULL, p.attempts,
            c.outcome, c.asked, r.status, g.id IS NOT NULL))
        FROM payments_payment p JOIN orders_order o ON o.id = p.order_id
        LEFT JOIN payments_sandboxcharge c ON c.idempotency_key = p.idempotency_key
        LEFT JOIN payments_sandboxrefund g ON g.charge_id = c.id
        LEFT JOIN payments_refund r ON r.payment_id = p.id WHERE o.item_id = %(item)s))
"""


class Paired(Model):
    """A model that will not go a step further than the product goes with it."""

    def __init__(self, *, units: int, per_customer: int) -> None:
        super().__init__(units=units, per_customer=per_customer)
        self.real = Real(units=units, per_customer=per_customer)

    def call(self, name: str, *args):
        expected = super().call(name, *args)
        answer = self.real.call(name, *args)
        if name == "lock_acquire" and expected:
            self.real.names.fences[expected] = answer
        alike = _ALIKE.get(name, lambda value: value)
        require(alike(expected) == alike(answer), f"the product answers {name} as the model does", (expected, answer))
        if name not in _READS:
            self._compare(self._gates() if name.startswith(("gate", "lock")) else self._ledgers())
        return expected

    def lose_gate(self) -> None:
        super().lose_gate()
        self.real.lose_gate()

    def inflate(self, units: int) -> None:
        if self.gate.present and not self.gate.rebuilding:
            self.real.inflate(units)
        super().inflate(units)

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        self.real.clock.advance(seconds)

    def _compare(self, sides) -> None:
        """After a call only its own side: gate and ledger do not know each other (``import-linter`` sees to that)."""
        for name, expected, found in sides:
            require(expected == found, f"the product's {name} is the model's", (expected, found))

    def _gates(self):
        seen, model, names = gate.snapshot(self.real.item), self.gate, self.real.names
        yield "gate's presence", model.present, seen is not None
        yield "stream", len(model.stream), seen.backlog if seen else gate_client().xlen(keys.admitted(self.real.item))
        if seen is None:
            return
        yield "rebuild", bool(model.rebuilding), seen.rebuilding
        counts = seen.stock, seen.sold, seen.allocated, seen.version
        yield "gate", (model.stock, model.sold, model.allocated, model.version), counts
        number = self.real.customers.index
        yield "holds", model.held, {names.numbers[pk]: (number(who), units) for pk, (who, units) in seen.held.items()}
        yield "buyers", model.buyers, {number(who): units for who, units in seen.buyers.items()}

    def _ledgers(self):
        with connection.cursor() as cursor:
            cursor.execute(_BOOKS, {"item": self.real.item})
            found = cursor.fetchone()[0]
        books = json.loads(found) if isinstance(found, str) else found
        model, names = self.ledger, self.real.names
        columns = model.allocated, model.available, model.reserved, model.sold, model.version, model.life
        yield "stock", list(columns), books["item"]
        orders = {names.numbers[UUID(pk)]: (status, reason) for pk, status, reason in books["orders"] or []}
        yield "orders", {pk: (row.status, row.reason) for pk, row in model.rows.items()}, orders
        intake = {names.numbers[UUID(pk)]: reason for pk, reason in books["intake"] or []}
        yield "intake", {pk: reason for pk, (_, reason, _) in model.intake.items()}, intake
        yield "number of events", len(model.events), books["events"]
        effects = [(number, kind, names.numbers[UUID(pk)]) for number, kind, pk in books["effects"] or []]
        yield "effects", Counter(effect[1:] for effect in model.effects), Counter(effect[1:] for effect in effects)
        self._name_effects(effects)
        yield "payments", self._payments(), {names.payment_names[key]: rest for key, *rest in books["payments"] or []}

    def _name_effects(self, rows) -> None:
        names = self.real.names.effects
        known = set(names.values())
        free = [row for row in rows if row[0] not in known]
        for number, kind, order in self.ledger.effects:
            if number not in names:
                row = next(row for row in free if row[1:] == (kind, order))
                free.remove(row)
                names[number] = row[0]

    def _payments(self):
        books = {}
        for pk, payment in self.payments.payments.items():
            _, _, outcome, asked, _ = self.payments.charges.get(self.payments.key_of(pk), [None] * 5)
            refund = self.payments.refunds.get(pk, [None])[0]
            given_back = pk in self.payments.given_back
            books[pk] = [payment.status, payment.applied, payment.attempts, outcome, asked, refund, given_back]
        return books


def real_run(plan: Plan, say=None) -> Run:
    """A plan on model and product."""
    world = Paired(units=plan.units, per_customer=plan.per_customer)
    return Run(plan, world, Steps(batch=plan.batch, fine=False), say)
