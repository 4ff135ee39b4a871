"""Bugs to put into the model: each breaks one of the promises, and the simulation has to find it.

Some are plausible slips, the rest is what the product itself did before the simulation.
"""

from collections.abc import Callable
from functools import partial

from tests.simulation.model import Model
from tests.simulation.steps import Steps

PLANTS: dict[str, Callable[[Model, Steps], None]] = {}


def plant(function: Callable[[Model, Steps], None]) -> Callable[[Model, Steps], None]:
    PLANTS[function.__name__] = function
    return function


@plant
def ack_before_commit(world, steps):
    def deduct(orders):
        yield ("gate_ack", orders)
        ids = yield ("deduct", orders)
        yield ("publish", "create", ids)

    steps.deduct = deduct


@plant
def effect_applied_twice_counts_twice(world, steps):
    gate, rows = world.gate, world.ledger.rows

    def release(ids):
        if gate.present and not gate.rebuilding:
            for pk in ids:
                gate.held.pop(pk, None)
                gate._give_back(rows[pk].order.customer, rows[pk].order.units)
            return "done"
        return "rebuilding"

    world.calls["gate_release"] = release


@plant
def release_keeps_the_hold(world, steps):
    gate = world.gate

    def release(ids):
        if gate.present and not gate.rebuilding:
            for pk in ids:
                if pk in gate.held:
                    gate._give_back(*gate.held[pk])
            return "done"
        return "rebuilding"

    world.calls["gate_release"] = release


@plant
def new_idempotency_key_for_each_question(world, steps):
    payments = world.payments
    payments.key_of = lambda pk: f"{pk}.{payments.payments[pk].attempts}"


@plant
def cancel_without_a_guard(world, steps):
    ledger = world.ledger

    def cancel(pk):
        row = ledger.rows.get(pk)
        if row is None or row.status == "cancelled":
            return "ok"
        row.status = "cancelled"
        ledger.events.append((pk, "cancelled"))
        ledger._cancel([row])
        return "ok"

    world.calls["cancel"] = cancel


@plant
def expiry_ignores_the_deadline_of_the_row(world, steps):
    world.ledger._overdue = lambda row, now: row.status in ("pending_payment", "paid")


@plant
def money_for_a_cancelled_order_is_kept(world, steps):
    world.payments.request_refund = lambda pk: None


@plant
def answer_recorded_without_telling_the_order(world, steps):
    def charge(payments, fresh=()):
        answers = yield from steps.ask(payments, fresh)
        for answer in answers:
            world.payments.payments[answer.payment].applied = True
            world.payments.payments[answer.payment].status = answer.status

    steps.charge = charge


@plant
def rebuild_reads_the_ledger_before_the_stream(world, steps):
    def rebuild_fenced(fence):
        code = yield ("gate_begin", fence)
        if code == "fenced":
            return False
        yield ("start_gate", code == "gate_missing")
        view = yield ("ledger_view", fence, [])
        known = world.ledger.rows.keys() | world.ledger.intake.keys()
        streamed = [order for order in (yield ("gate_stream",)) if order.id not in known]
        held = view.held | {order.id: (order.customer, order.units) for order in streamed}
        buyers = dict(view.buyers)
        for order in streamed:
            buyers[order.customer] = buyers.get(order.customer, 0) + order.units
        stock = view.stock - sum(order.units for order in streamed)
        return (yield ("gate_open", fence, view._replace(stock=stock, held=held, buyers=buyers))) == "done"

    steps.rebuild_fenced = rebuild_fenced


@plant
def rebuild_copies_the_ledgers_stock(world, steps):
    world.calls["ledger_view"] = lambda fence, streamed: world.ledger.view([])


@plant
def rebuild_without_a_pause(world, steps):
    gate = world.gate

    def begin(fence):
        answer = type(gate).begin(gate, fence)
        if answer == "done":
            gate.rebuilding = None
        return answer

    def open_gate(fence, view):
        gate.rebuilding = fence
        return type(gate).open(gate, fence, view)

    world.calls |= {"gate_begin": begin, "gate_open": open_gate}


@plant
def late_holder_is_not_fenced(world, steps):
    gate = world.gate

    def open_gate(fence, view):
        gate.rebuilding = fence
        return type(gate).open(gate, fence, view)

    world.calls["gate_open"] = open_gate


@plant
def fence_starts_anew_with_its_server(world, steps):
    gate = world.gate

    def acquire(name, owner):
        before = gate.fences.get(name, 0)
        answer = type(gate).acquire(gate, name, owner)
        if answer:
            answer = gate.fences[name] = before + 1
        return answer

    world.calls["lock_acquire"] = acquire


@plant
def deduct_reads_what_is_known_before_it_has_the_lock(world, steps):
    def deduct(orders):
        known = yield ("known", [order.id for order in orders])
        ids = yield ("deduct", orders, known)
        yield ("gate_ack", orders)
        yield ("publish", "create", ids)

    def reserve(orders, known):
        ledger = world.ledger
        for order in orders:
            if order.id in known:
                continue
            reserved = (order.id, "reserve") in ledger.movements
            over = ledger.over_limit([order]) if ledger.life > 1 else set()
            reason = "" if reserved else ledger._refusal(order, over)
            if not reserved and not reason:
                ledger._reserve(order)
            ledger.intake.setdefault(order.id, (order, reason, world.clock.now))
            if order.life != ledger.life:
                ledger._effect("rebuild", order.id)
        return [order.id for order in orders]

    steps.deduct = deduct
    world.calls["deduct"] = reserve


@plant
def orders_of_a_lost_gate_are_forgotten(world, steps):
    ledger = world.ledger
    world.calls["deduct"] = lambda orders: ledger.deduct([order._replace(life=ledger.life) for order in orders])


@plant
def limit_is_not_checked_after_a_loss(world, steps):
    world.ledger.over_limit = lambda orders: set()


@plant
def a_rejected_order_gives_back_only_what_is_below_zero(world, steps):
    gate = world.gate

    def void(orders):
        for pk in orders if gate.present and not gate.rebuilding else []:
            if pk in gate.held:
                customer, units = gate.held.pop(pk)
                below = max(0, -gate.stock)
                gate._give_back(customer, units)
                gate.stock += min(units, below) - units
        return "done" if gate.present and not gate.rebuilding else "rebuilding"

    def effects():
        for kind, found in (yield ("pending_effects",)):
            name = "void" if kind == "rebuild" else f"gate_{kind}"
            if (yield (name, [order for _, order in found])) == "done":
                yield ("forget_effects", [number for number, _ in found])

    world.calls["void"] = void
    steps.effects = effects


@plant
def withheld_units_are_put_back_behind_the_ledgers_back(world, steps):
    world.calls["touch_gate"] = lambda: None


@plant
def no_receipts(world, steps):
    gate = world.gate

    def admit(order, token):
        answer = type(gate).admit(gate, order, token)
        gate.receipts.clear()
        return answer

    world.calls["gate_admit"] = admit


@plant
def source_and_seq_are_not_unique(world, steps):
    world.ledger.by_seq = type("Forgetful", (dict,), {"__contains__": lambda self, key: False})()


@plant
def token_is_not_deleted_and_the_limit_not_counted(world, steps):
    gate = world.gate

    def admit(order, token):
        answer = type(gate).admit(gate, order, token)
        gate.buyers.clear()
        return answer

    world.calls["gate_admit"] = admit


def _without(sweep):
    def remove(world, steps):
        setattr(steps, sweep, partial(iter, ()))

    remove.__name__ = f"no_{sweep}"
    return remove


for _sweep in Steps.SWEEPS:
    plant(_without(_sweep))
