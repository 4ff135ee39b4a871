"""The tasks, the sweeps and the clients, cut where the real ones cross a process: each ``yield`` is one call.

A call is the name of a method of the world with its arguments; the world's answer comes back. ``publish`` is the broker's.
``tests/simulation/test_order_of_pieces.py`` compares the order of the calls with that of the real tasks.
"""

from tests.simulation.values import Admitted, Unavailable


class Steps:
    """``fine``: cut payments and refunds between row and provider too, which the real services do in one function."""

    def __init__(self, *, batch: int, fine: bool) -> None:
        self.batch = batch
        self.fine = fine
        self.owners = 0

    # the way of a batch

    def dispatch(self):
        while True:
            unclaimed, claimed = yield ("gate_waiting",)
            limit = min(self.batch, unclaimed, 2 * self.batch - claimed)
            if limit <= 0:
                return
            orders = yield ("gate_claim", limit, 2 * self.batch)
            if orders:
                yield ("publish", "deduct", orders)
            if len(orders) < limit:
                return

    def deduct(self, orders: list[Admitted]):
        ids = yield ("deduct", orders)
        try:
            more = yield ("gate_ack", orders)
        except Unavailable:
            more = False
        if more:
            yield ("publish", "dispatch")
        yield ("publish", "create", ids)

    def create(self, ids):
        ids = yield ("create", ids)
        yield ("publish", "request", ids)

    def request(self, ids):
        fresh, others = yield ("request_payments", ids)
        yield from self.charge(others, fresh)
        unpaid = yield ("unpaid_of", ids)
        if unpaid:
            yield ("publish", "cancel_overdue", unpaid)

    def charge(self, payments, fresh=()):
        yield from self.apply((yield from self.ask(payments, fresh)))

    def ask(self, payments, fresh):
        if not self.fine:
            return (yield ("ask", payments, list(fresh)))
        asked = yield ("processing", payments)
        return (yield ("provider_charge", [*fresh, *asked]))

    def apply(self, answers):
        if answers:
            yield ("apply_answers", answers)
            yield from self.effects()

    def outcomes(self, payments):
        yield from self.apply((yield ("untold", payments)))

    def cancel_overdue(self, ids):
        yield from self.sweep_unpaid()

    # gate and ledger

    def effects(self):
        put_off = False
        told = []
        found = yield ("pending_effects",)
        for kind, effects in found:
            if kind == "rebuild":
                continue
            if (yield (f"gate_{kind}", [order for _, order in effects])) == "done":
                told += [number for number, _ in effects]
            else:
                put_off = True
        yield ("forget_effects", told)
        for kind, effects in found:
            if kind == "rebuild" and not put_off:
                if (yield from self.rebuild()) is None:
                    put_off = True
                else:
                    yield ("forget_effects", [number for number, _ in effects])

    def _owner(self) -> str:
        self.owners += 1
        return f"owner{self.owners}"

    def locked(self, name, body):
        """``body`` under the lock; None when somebody else has it."""
        owner = self._owner()
        fence = yield ("lock_acquire", name, owner)
        if not fence:
            return None
        try:
            done = yield from body(fence)
        except Unavailable:
            yield ("lock_release", name, owner)
            raise
        yield ("lock_release", name, owner)
        return done

    def rebuild(self):
        return (yield from self.locked("rebuild", self.rebuild_fenced))

    def rebuild_fenced(self, fence):
        code = yield ("gate_begin", fence)
        if code == "fenced":
            return False
        yield ("start_gate", code == "gate_missing")
        streamed = yield ("gate_stream",)
        view = yield ("ledger_view", fence, streamed)
        return (yield ("gate_open", fence, view)) == "done"

    def refresh(self):
        seen = yield ("gate_versions",)
        current = yield ("ledger_versions",)
        if seen is None:
            yield from self.rebuild()
        elif seen != current:
            yield from self.locked("terms", self.configure)

    def configure(self, _fence):
        seen = yield ("gate_versions",)
        if seen is None:
            return
        current = yield ("ledger_versions",)
        if current[1] > seen[1]:
            yield ("touch_gate",)  # whoever withholds units has read the version: the ledger refuses to take them away
        terms = yield ("ledger_terms",)
        yield ("gate_configure", terms, seen)

    def adjust(self, units):
        yield from self.locked("terms", lambda _fence: self.adjust_locked(units))

    def adjust_locked(self, units):
        version, _ = yield ("ledger_versions",)
        if units < 0 and (yield ("gate_withhold", -units)) != "done":
            return
        yield ("adjust", units, version)
        yield from self.configure(None)

    # sweeps

    def sweep_waiting(self):
        unclaimed, claimed = yield ("gate_waiting",)
        if unclaimed:
            yield ("publish", "dispatch")
        if claimed:
            stolen = yield ("gate_steal",)
            if stolen:
                yield ("publish", "deduct", stolen)

    def sweep_half_made(self):
        stale = yield ("stale_intake",)
        if stale:
            yield ("create", stale)
        reserved = yield ("stale_reserved",)
        if reserved:
            fresh, others = yield ("request_payments", reserved)
            yield from self.charge(others, fresh)

    def sweep_payments(self):
        due = yield ("due_payments",)
        if due:
            yield from self.charge(due)
        yield from self.apply((yield ("untold", None)))
        yield from self.refunds()

    def refunds(self):
        if not self.fine:
            yield ("process_refunds",)
            return
        for payment in (yield ("due_refunds",)):
            yield ("provider_refund", payment)
            yield ("refunded", payment)

    def sweep_unpaid(self):
        while (yield ("cancel_unpaid",)):
            yield from self.effects()

    def sweep_effects(self):
        yield from self.effects()

    def sweep_refresh(self):
        yield from self.refresh()

    # people

    def order(self, order: Admitted, token: str, fresh: bool):
        if fresh and (yield ("gate_issue", order.customer, token)) != "ok":
            return
        yield from self.place(order, token)

    def place(self, order: Admitted, token: str):
        was_promised = yield ("asked", order)
        code, known, wake = yield ("gate_admit", order, token)
        if code in ("token_invalid", "token_used", "gate_missing"):
            found = yield ("by_source_seq", order.seq)
            if found and found[1:] == (order.customer, order.digest):
                code, known, wake = "replayed", found[0], False
        yield ("answered", order, was_promised, code, known)
        if wake:
            yield ("publish", "dispatch")

    def pay(self, pk, method):
        opened = yield ("pay", pk, method)
        if not isinstance(opened, str):
            yield ("publish", "charge", [opened])

    def cancel(self, pk):
        if (yield ("cancel", pk)) == "ok":
            yield ("publish", "sweep_effects")

    def refund(self, pk):
        yield ("refund_by_staff", pk)

    def webhook(self, payment):
        if (yield ("webhook", payment)):
            yield ("publish", "outcomes", [payment])

    SWEEPS = ("sweep_waiting", "sweep_half_made", "sweep_payments", "sweep_unpaid", "sweep_effects", "sweep_refresh")
