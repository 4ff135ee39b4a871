"""The simulation's steps against the real tasks: the same pieces in the same order, so that neither drifts from the other."""

import pytest

from flashsale.core.redis_client import gate_client
from inventory.admission import gate, keys, new_gates
from orders import selectors, services
from payments import services as payments
from tasks import sweeps
from tasks.repair import gate_sync
from tasks.repair import rebuild as rebuilding
from tasks.steps import cancel_unpaid, create_orders, deduct_inventory, gate_effects, pipeline, request_payments
from tasks.steps import dispatch as dispatching
from tests.simulation.paired import Paired
from tests.simulation.steps import Steps
from tests.simulation.values import Admitted

pytestmark = pytest.mark.django_db(transaction=True)

# Where the real pieces are, and what the simulation calls them.
PIECES = (
    (gate, "turns", "gate_waiting"),
    (gate, "waiting", "gate_waiting"),
    (gate, "claim", "gate_claim"),
    (gate, "steal", "gate_steal"),
    (gate, "ack", "gate_ack"),
    (gate, "settle", "gate_settle"),
    (gate, "release", "gate_release"),
    (services, "deduct", "deduct"),
    (services, "create", "create"),
    (services, "request_payments", "request_payments"),
    (services, "apply_answers", "apply_answers"),
    (services, "cancel_unpaid", "cancel_unpaid"),
    (services, "stale_intake", "stale_intake"),
    (services, "stale_reserved", "stale_reserved"),
    (services, "lock_effects", "pending_effects"),
    (services, "forget_effects", "forget_effects"),
    (payments, "ask", "ask"),
    (payments, "due_payments", "due_payments"),
    (payments, "untold_answers", "untold"),
    (payments, "process_refunds", "process_refunds"),
    (selectors, "unpaid_of", "unpaid_of"),
    (new_gates, "begin", "gate_begin"),
    (rebuilding.services, "start_gates", "start_gate"),
    (rebuilding, "streamed_orders", "gate_stream"),
    (rebuilding, "stage", "ledger_view"),
    (new_gates, "open_gates", "gate_open"),
    (pipeline, "wake", "publish dispatch"),
    (pipeline, "start_chain", "publish deduct"),
    (cancel_unpaid, "schedule", "publish cancel_overdue"),
)


@pytest.fixture
def recorded(monkeypatch):
    """What the real tasks call, in order; every call is passed through, only the broker hears nothing."""
    calls, inside = [], []

    def record(module, name, word):
        real = getattr(module, name)

        def call(*args, **kwargs):
            if inside:
                return real(*args, **kwargs)
            if word == "publish cancel_overdue" and not args[0]:
                return None
            calls.append("gate_expired" if kwargs.get("left_unpaid") else word)
            if word.startswith("publish"):
                return None
            inside.append(word)
            try:
                return real(*args, **kwargs)
            finally:
                inside.pop()

        monkeypatch.setattr(module, name, call)

    for piece in PIECES:
        record(*piece)
    return calls


@pytest.fixture
def world():
    """The world that the real tasks are run on."""
    return sale_with_two_orders()


def sale_with_two_orders():
    """Two orders in the stream: one to be charged, one to be paid later."""
    world, steps = Paired(units=3, per_customer=1), Steps(batch=2, fine=False)
    played(world, steps.sweep_refresh())
    for number, method in enumerate(("pm_ok", "")):
        played(world, steps.order(Admitted(number, number, 1, f"s{number}", f"d{number}", method, 0), f"t{number}", True))
    return world


def played(world, steps):
    """Run a task of the simulation to its end; the calls it made."""
    calls, answer = [], None
    try:
        while True:
            name, *args = steps.send(answer)
            if name in ("asked", "answered"):
                answer = False
                continue
            calls.append(f"publish {args[0]}" if name == "publish" else name)
            answer = None if name == "publish" else world.call(name, *args)
    except StopIteration:
        return [call for call in calls if call not in ("lock_acquire", "lock_release")]


def claimed(world):
    return world.call("gate_claim", 2, 4)


def test_the_chain_calls_its_pieces_in_the_simulations_order(world, recorded):
    entries = [world.real.names.entries[order.id] for order in claimed(world)]
    ids = [str(order.id) for _, order in entries]
    recorded.clear()

    batch = [[entry, order.as_payload()] for entry, order in entries]
    deduct_inventory.deduct_inventory.run(world.real.item, batch)
    create_orders.create_orders.run(ids)
    request_payments.request_payments.run(ids)
    real = list(recorded)

    other, steps = sale_with_two_orders(), Steps(batch=2, fine=False)
    model = [
        *played(other, steps.deduct(claimed(other))),
        *played(other, steps.create([0, 1])),
        *played(other, steps.request([0, 1])),
    ]
    chained = ("publish create", "publish request")  # celery's chain does it
    assert real == [call for call in model if call not in chained]


def test_dispatch_calls_its_pieces_in_the_simulations_order(world, recorded, settings):
    settings.BATCH_SIZE = 2
    recorded.clear()

    dispatching.dispatch.run(world.real.item)
    real = list(recorded)

    assert real == played(sale_with_two_orders(), Steps(batch=2, fine=False).dispatch())


def half_way(world):
    """One order is a row, the other's claim stands still; all deadlines are over."""
    world.call("deduct", claimed(world)[:1])
    world.call("create", [0])
    world.advance(702.0)
    return world


@pytest.mark.parametrize(
    ("sweep", "step"),
    [
        (sweeps.waiting_orders, "sweep_waiting"),
        (sweeps.half_made_orders, "sweep_half_made"),
        (sweeps.open_payments, "sweep_payments"),
        (sweeps.unpaid_orders, "sweep_unpaid"),
        (sweeps.effects, "sweep_effects"),
    ],
)
def test_a_sweep_calls_its_pieces_in_the_simulations_order(world, recorded, sweep, step):
    half_way(world)
    recorded.clear()

    sweep()
    real = list(recorded)

    assert real == played(half_way(sale_with_two_orders()), getattr(Steps(batch=2, fine=False), step)())
    assert real


def test_a_rebuild_calls_its_pieces_in_the_simulations_order(world, recorded):
    gate_client().delete(keys.meta(world.real.item))
    world.gate.present = world.gate.has_meta = False
    recorded.clear()

    gate_sync.refresh_gates([world.real.item])
    real = [call for call in recorded if call != "gate_waiting"]

    other = Paired(units=3, per_customer=1)
    assert real == [call for call in played(other, Steps(batch=2, fine=False).refresh()) if not call.endswith("versions")]


def with_an_effect(world):
    world.call("deduct", claimed(world))
    world.call("create", [0, 1])
    world.call("cancel", 1)
    return world


def test_effects_are_applied_and_forgotten_in_the_simulations_order(world, recorded):
    with_an_effect(world)
    recorded.clear()

    gate_effects.apply()
    real = list(recorded)

    assert real == played(with_an_effect(sale_with_two_orders()), Steps(batch=2, fine=False).effects())
    assert real == ["pending_effects", "gate_release", "forget_effects"]
