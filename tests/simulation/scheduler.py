"""A seeded scheduler: what runs next, what dies, what gets lost.

A run is a list of actions drawn before it starts; an action picks its subject modulo what there is at that moment. So a
seed gives the same run for ever, and a run is still a run when actions are taken out of it, which is how it is shrunk.
"""

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from tests.simulation.invariants import Broken, Watch
from tests.simulation.model import Model
from tests.simulation.steps import Steps
from tests.simulation.values import Admitted, Unavailable

_ACTIONS = 110
_ALWAYS = {"go": 55.0, "order": 9.0, "sweep": 6.0, "advance": 2.0}
# Each seed leaves some of these out, so that the others get deep ("swarm testing", Groce et al. 2012).
_SOMETIMES = {
    "repeat": 3.0,
    "pay": 3.0,
    "cancel": 3.0,
    "refund": 1.0,
    "webhook": 2.0,
    "crash": 4.0,
    "fail": 2.0,
    "duplicate": 2.0,
    "drop": 2.0,
    "lose_broker": 0.5,
    "long_advance": 2.0,
    "rebuild": 3.0,
    "adjust": 2.0,
    "inflate": 0.5,
    "lose_gate": 0.7,
}
# Some seeds are about one thing.
FOCUS = {
    "rebuilds": {"rebuild": 14.0, "lose_gate": 5.0, "order": 12.0, "crash": 1.0},
    "terms": {"adjust": 8.0, "rebuild": 3.0, "advance": 6.0, "order": 12.0},
    "chain": {"duplicate": 6.0, "fail": 4.0, "inflate": 2.0, "cancel": 5.0, "order": 12.0, "advance": 4.0},
}
_PAYING = ("pm_ok", "pm_ok", "", "pm_declined", "pm_unavailable", "pm_unknown", "pm_slow", "pm_nobody")
_ROUNDS = 14
# Past a sweep's age; past a lock's life; past a payment's deadline. Multiples of 4.5 s: see ``real_clock``.
_MOMENT_S, _WHILE_S, _LONG_S = 4.5, 40.5, 702.0


class Action(NamedTuple):
    kind: str
    r: int


class Plan(NamedTuple):
    """What a seed stands for."""

    units: int
    per_customer: int
    customers: int
    batch: int
    actions: list[Action]
    keeps_messages: bool


def plan_of(seed: int, *, focus: str = "", length: int = _ACTIONS) -> Plan:
    """The run of a seed.

    Args:
        focus: what every seed is about; left out, one of six is about one of ``FOCUS``.
    """
    random = Random(seed)
    weights = _ALWAYS | {
        kind: weight * random.choice((1, 1, 4)) for kind, weight in _SOMETIMES.items() if random.random() < 0.5
    }
    theme = focus or random.choice((*FOCUS, *[""] * 15))
    weights |= FOCUS.get(theme, {})
    kinds = random.choices(list(weights), list(weights.values()), k=length)
    per_customer = random.choice((1, 1, 2, 3))
    return Plan(
        units=random.randint(1, 5),
        per_customer=per_customer,
        customers=random.randint(2, 4),
        batch=random.randint(1, 3),
        actions=[Action(kind, random.getrandbits(32)) for kind in kinds],
        keeps_messages=random.random() < 0.5,
    )


class Running:
    """A task in a process: the call it is about to make, and the message it will acknowledge at its end."""

    __slots__ = ("call", "message", "name", "steps")

    def __init__(self, name, steps, message) -> None:
        self.name, self.steps, self.message = name, steps, message
        self.call: tuple = next(steps, ())


class Run:
    """One plan on one world."""

    def __init__(self, plan: Plan, world: Model, steps: Steps, say: Callable[[str], None] | None = None) -> None:
        self.plan, self.world, self.steps, self.say = plan, world, steps, say
        self.watch = Watch(world)
        self.messages: list[tuple[str, tuple, float]] = []  # task, arguments, due
        self.running: list[Running] = []
        self.requests: list[tuple[Admitted, str]] = []
        self._act = {kind: getattr(self, f"_{kind}") for kind in (*_ALWAYS, *_SOMETIMES)}

    def play(self) -> None:
        """
        Raises:
            Broken: an invariant does not hold.
        """
        self._start("sweep_refresh")
        while self.running:
            self._step(self.running[0])
        for kind, r in self.plan.actions:
            self._act[kind](r)
        self._drain()
        self.watch.at_the_end()

    def _tell(self, *words) -> None:
        if self.say:
            self.say(" ".join(str(word) for word in words))

    # tasks and messages

    def _start(self, name, *args, message=None) -> None:
        self._tell("start", name, *args)
        task = Running(name, getattr(self.steps, name)(*args), message)
        if task.call:
            self.running.append(task)

    def _step(self, task: Running) -> None:
        answer = self._call(task)
        self._go_on(task, lambda: task.steps.send(answer))

    def _go_on(self, task: Running, resume: Callable[[], tuple]) -> None:
        try:
            task.call = resume()
        except StopIteration:
            self.running.remove(task)
        except Unavailable:
            self._end(task, "fails", comes_again=True)

    def _call(self, task: Running):
        name, *args = task.call
        if name == "publish":
            self._tell(" ", task.name, "publishes", *args)
            due = self.world.clock.now + 600 if args[0] == "cancel_overdue" else 0
            self.messages.append((args[0], tuple(args[1:]), due))
            return None
        if name in ("asked", "answered"):
            self._tell(" ", task.name, name, *args)
            return getattr(self.watch, name)(*args)
        answer = self.world.call(name, *args)
        self._tell(" ", task.name, "calls", name, *args, "->", answer)
        self.watch.after_step(not name.startswith(("gate", "lock")))
        return answer

    def _deliverable(self) -> list[int]:
        now = self.world.clock.now
        return [index for index, message in enumerate(self.messages) if message[2] <= now]

    def _deliver(self, index: int) -> None:
        message = self.messages.pop(index)
        self._start(message[0], *message[1], message=message)

    # actions

    def _go(self, r: int) -> None:
        ready = self._deliverable()
        choices = len(self.running) + len(ready)
        if not choices:
            return
        chosen = r % choices
        if chosen < len(self.running):
            self._step(self.running[chosen])
        else:
            self._deliver(ready[chosen - len(self.running)])

    def _order(self, r: int) -> None:
        customer = r % self.plan.customers
        units = 1 + (r >> 4) % self.plan.per_customer
        number = len(self.requests)
        clashes = self.requests and (r >> 8) % 10 == 0
        seq = self.requests[(r >> 12) % number][0].seq if clashes else f"s{number}"
        method = _PAYING[(r >> 16) % len(_PAYING)]
        self.requests.append((Admitted(number, customer, units, seq, f"d{number}", method, 0), f"t{number}"))
        self._start("order", *self.requests[-1], True)

    def _repeat(self, r: int) -> None:
        if self.requests:
            order, token = self.requests[r % len(self.requests)]
            self.requests.append((order._replace(id=len(self.requests)), token))
            self._start("order", *self.requests[-1], False)

    def _row(self, r: int) -> int | None:
        rows = sorted(self.world.ledger.rows)
        return rows[r % len(rows)] if rows else None

    def _pay(self, r: int) -> None:
        if (pk := self._row(r)) is not None:
            self._start("pay", pk, ("pm_ok", "pm_declined", "pm_unknown")[(r >> 8) % 3])

    def _cancel(self, r: int) -> None:
        if (pk := self._row(r)) is not None:
            self._start("cancel", pk)

    def _refund(self, r: int) -> None:
        if (pk := self._row(r)) is not None:
            self._start("refund", pk)

    def _webhook(self, r: int) -> None:
        payments = sorted(self.world.payments.payments)
        if payments:
            self._start("webhook", payments[r % len(payments)])

    def _sweep(self, r: int) -> None:
        self._start(Steps.SWEEPS[r % len(Steps.SWEEPS)])

    def _rebuild(self, r: int) -> None:
        self._start("rebuild")

    def _adjust(self, r: int) -> None:
        self._start("adjust", (-2, -1, 1, 2)[r % 4])

    def _crash(self, r: int) -> None:
        """The process dies before its next call; its message comes again, or not."""
        if self.running:
            self._end(self.running[r % len(self.running)], "dies", comes_again=(r >> 16) % 2)

    def _end(self, task: Running, how: str, *, comes_again) -> None:
        self._tell(task.name, how, "before", *task.call)
        self.running.remove(task)
        if task.message and comes_again:
            self.messages.append(task.message)

    def _fail(self, r: int) -> None:
        """A call of the gate times out: it was made, or not; the task is retried."""
        waiting = [task for task in self.running if task.call[0].startswith(("gate", "lock"))]
        if not waiting:
            return
        task = waiting[r % len(waiting)]
        if (r >> 16) % 2:
            self._call(task)
        self._tell(task.name, "gets no answer from", *task.call)
        self._go_on(task, lambda: task.steps.throw(Unavailable()))

    def _duplicate(self, r: int) -> None:
        if self.messages:
            self.messages.append(self.messages[r % len(self.messages)])

    def _drop(self, r: int) -> None:
        if self.messages:
            self._tell("lost message", *self.messages.pop(r % len(self.messages)))

    def _lose_broker(self, r: int) -> None:
        self._tell("the broker loses everything")
        self.messages.clear()

    def _advance(self, r: int) -> None:
        self._pass((_MOMENT_S, _MOMENT_S, _WHILE_S)[r % 3])

    def _long_advance(self, r: int) -> None:
        self._pass(_LONG_S)

    def _pass(self, seconds: float) -> None:
        self._tell("time passes:", seconds, "s")
        self.world.advance(seconds)

    def _inflate(self, r: int) -> None:
        self._tell("the gate is wrong by", 1 + r % 2)
        self.world.inflate(1 + r % 2)
        self.watch.gate_was_wrong = True

    def _lose_gate(self, r: int) -> None:
        self._tell("the gate is lost")
        self.watch.lost_gate()
        self.world.lose_gate()

    # the end

    def _drain(self) -> None:
        """No more crashes: what runs ends, then the sweeps run until there is nothing left to do."""
        self._tell("drain")
        if not self.plan.keeps_messages:
            self._lose_broker(0)
        for round_ in range(_ROUNDS):
            self._pass(_LONG_S if round_ in (3, 6) else _WHILE_S)
            for sweep in Steps.SWEEPS:
                self._start(sweep)
                self._finish()
            if self.watch.is_quiet():
                break
        if self.watch.gate_was_wrong:
            self._start("rebuild")  # a person's reconcile
            self._finish()

    def _finish(self) -> None:
        while self.running or (ready := self._deliverable()):
            if self.running:
                self._step(self.running[0])
            else:
                self._deliver(ready[0])


def model_run(plan: Plan, say=None, plant: Callable[[Model, Steps], None] | None = None) -> Run:
    """A plan on the model alone; ``plant`` may put a bug into it."""
    world = Model(units=plan.units, per_customer=plan.per_customer)
    steps = Steps(batch=plan.batch, fine=True)
    if plant:
        plant(world, steps)
    return Run(plan, world, steps, say)


def what_breaks(run: Run) -> Broken | None:
    """Play a run; what it broke, or None."""
    try:
        run.play()
    except Broken as broken:
        return broken
    return None
