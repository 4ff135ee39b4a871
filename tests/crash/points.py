"""Every boundary of an order's way, and what a process that dies there leaves behind."""

from dataclasses import dataclass, field
from typing import Literal

Moment = Literal["before", "before commit", "after"]
Scene = Literal["chain", "expiry", "refund", "stolen", "order", "cancel", "pay"]


@dataclass(frozen=True, slots=True)
class Point:
    """Where a process dies.

    ``target``: ``module:attribute`` of the function that is wrapped, as its caller finds it. ``moment``: before it, at the
    first COMMIT inside it, or after it. ``of_item``: its first argument is the item, and only the test's own counts.
    ``leaves``: what must be found of the item right after the death; see ``wreck.Remains``.
    """

    scene: Scene
    target: str
    moment: Moment
    leaves: dict[str, int] = field(default_factory=dict)
    of_item: bool = False


def _streamed(**more: int) -> dict[str, int]:
    return {"streamed": 3, "claimed": 3, "intake": 0, "orders": 0, **more}


def _rows(**more: int) -> dict[str, int]:
    return {"streamed": 0, "intake": 0, "orders": 3, **more}


POINTS: dict[str, Point] = {
    # These two are driven by a sweep, which looks at every item: first, while there is no other wreck.
    "refund sent and not recorded": Point(
        "refund", "payments.providers.sandbox:Sandbox.refund", "after", {"refunded": 1, "refunds_open": 1}
    ),
    "claim stolen and no chain started": Point("stolen", "inventory.admission.gate:steal", "after", _streamed(), of_item=True),
    "before the claim": Point(
        "chain", "inventory.admission.gate:claim", "before", _streamed(claimed=0, messages=1), of_item=True
    ),
    "claimed": Point("chain", "inventory.admission.gate:claim", "after", _streamed(messages=1), of_item=True),
    "before the chain's message is sent": Point("chain", "tasks.steps.pipeline:start_chain", "before", _streamed(messages=1)),
    "chain's message sent": Point("chain", "tasks.steps.pipeline:start_chain", "after", _streamed(messages=2)),
    "deduction not committed": Point("chain", "orders.services:deduct", "before commit", _streamed(reserved=0)),
    "deduction committed, stream not acknowledged": Point(
        "chain", "orders.services:deduct", "after", _streamed(intake=3, reserved=3)
    ),
    "stream acknowledged, next message not sent": Point(
        "chain", "inventory.admission.gate:ack", "after", {"streamed": 0, "intake": 3, "orders": 0, "reserved": 3}, of_item=True
    ),
    "deduction's next message sent, its own not acknowledged": Point(
        "chain", "tasks.steps.create_orders:create_orders.apply_async", "after", {"streamed": 0, "intake": 3, "messages": 2}
    ),
    "creation not committed": Point(
        "chain", "orders.services.creation:_create", "before commit", {"streamed": 0, "intake": 3, "orders": 0}
    ),
    "creation committed, next message not sent": Point("chain", "orders.services.creation:_create", "after", _rows(messages=1)),
    "creation's next message sent, its own not acknowledged": Point(
        "chain", "tasks.steps.request_payments:request_payments.apply_async", "after", _rows(messages=2)
    ),
    "payment rows not committed": Point("chain", "orders.services:request_payments", "before commit", _rows(payments=0)),
    "payment rows opened, provider not called": Point(
        "chain", "orders.services:request_payments", "after", _rows(payments=3, charges=0)
    ),
    "provider about to be called": Point(
        "chain", "payments.providers.sandbox:Sandbox.charge", "before", _rows(payments=3, payments_open=3, charges=0)
    ),
    "provider charged, nothing recorded": Point(
        "chain", "payments.providers.sandbox:Sandbox.charge", "after", _rows(charges=3, payments_open=3)
    ),
    "provider answered, answer not committed": Point(
        "chain", "orders.services:apply_answers", "before commit", _rows(charges=3, payments_open=3, effects=0)
    ),
    "answer recorded, gate not told": Point(
        "chain", "orders.services:apply_answers", "after", _rows(payments_open=1, effects=2, held=3)
    ),
    "sale not yet applied to the gate": Point(
        "chain", "inventory.admission.gate:settle", "before", _rows(payments_open=1, effects=2, held=3), of_item=True
    ),
    "sale applied to the gate and not forgotten": Point(
        "chain", "inventory.admission.gate:settle", "after", _rows(payments_open=1, effects=2, held=1), of_item=True
    ),
    "delayed cancellation not sent": Point(
        "expiry", "tasks.steps.cancel_unpaid:schedule", "before", _rows(effects=0, reserved=3)
    ),
    "cancellation not committed": Point(
        "expiry", "orders.services:cancel_unpaid", "before commit", _rows(effects=0, reserved=3, held=3)
    ),
    "cancellation committed, gate not told": Point(
        "expiry", "orders.services:cancel_unpaid", "after", _rows(effects=3, reserved=0, held=3)
    ),
    "units not yet released at the gate": Point(
        "expiry", "inventory.admission.gate:release", "before", _rows(effects=3, reserved=0, held=3), of_item=True
    ),
    "units released at the gate, effect not forgotten": Point(
        "expiry", "inventory.admission.gate:release", "after", _rows(effects=3, reserved=0, held=0), of_item=True
    ),
    "web process: before the admission": Point(
        "order", "inventory.admission.gate:admitting", "before", {"streamed": 0, "held": 0, "messages": 0}, of_item=True
    ),
    "web process: admitted, not answered": Point(
        "order", "inventory.admission.gate:admitting", "after", {"streamed": 1, "held": 1, "messages": 0}, of_item=True
    ),
    "web process: before the wake-up": Point(
        "order", "orders.placement:wake", "before", {"streamed": 1, "held": 1, "messages": 0}, of_item=True
    ),
    "web process: wake-up sent": Point(
        "order", "orders.placement:wake", "after", {"streamed": 1, "held": 1, "messages": 1}, of_item=True
    ),
    "web process: customer's cancellation committed, not answered": Point(
        "cancel", "orders.services:cancel", "after", {"orders": 1, "effects": 1, "held": 1, "messages": 0}
    ),
    "web process: customer's payment opened, not answered": Point(
        "pay", "orders.services:pay", "after", {"orders": 1, "payments_open": 1, "charges": 0, "messages": 0}
    ),
}
