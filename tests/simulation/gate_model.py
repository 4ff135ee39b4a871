"""The gate as its scripts promise it: each method is one script."""

from tests.simulation.values import Admitted, Clock, Terms, View

TOKEN_TTL_S = 300
MOST_TOKENS = 10
MOST_UNPAID = 3
LOCK_TTL_S = 30
STEAL_AFTER_S = 3
STAGE_TTL_S = 120


class GateModel:
    def __init__(self, clock: Clock, per_customer: int) -> None:
        self.clock = clock
        self.per_customer = per_customer
        self.lose()

    def lose(self) -> None:
        """Valkey is gone with its disk: all keys, the locks and their counters among them."""
        self.present = self.has_meta = self.has_stream = self.has_group = False
        self.rebuilding: int | None = None
        self.fence = self.version = self.allocated = self.sold = self.life = self.stock = 0
        self.awake_until = 0.0
        self.held: dict[int, tuple[int, int]] = {}
        self.buyers: dict[int, int] = {}
        self.unpaid: dict[int, int] = {}
        self.stream: dict[int, Admitted] = {}
        self.claimed: dict[int, float] = {}
        self.queued: set[int] = set()
        self.tokens: dict[str, tuple[int, float]] = {}
        self.spent: dict[str, tuple[int, float]] = {}
        self.receipts: dict[str, tuple[int, str, int]] = {}
        self.locks: dict[str, tuple[str, float]] = {}
        self.fences: dict[str, int] = {}

    def _live(self, names: dict[str, tuple[int, float]], token: str) -> int | None:
        customer, until = names.get(token, (None, 0))
        return customer if until > self.clock.now else None

    def issue(self, customer: int, token: str) -> str:
        if not self.has_meta:
            return "gate_missing"
        if self.rebuilding:
            return "paused"
        if self.stock <= 0:
            return "sold_out"
        if sum(self._live(self.tokens, other) == customer for other in self.tokens) >= MOST_TOKENS:
            return "rate_limited"
        self.tokens[token] = customer, self.clock.now + TOKEN_TTL_S
        return "ok"

    def admit(self, order: Admitted, token: str) -> tuple[str, int, bool]:
        code = self._refusal(order, token)
        if code:
            return code
        customer, units = order.customer, order.units
        order = order._replace(life=self.life)
        del self.tokens[token]
        self.spent[token] = customer, self.clock.now + TOKEN_TTL_S
        self.receipts[order.seq] = customer, order.digest, order.id
        self.stock -= units
        self.buyers[customer] = self.buyers.get(customer, 0) + units
        self.held[order.id] = customer, units
        self.queued.add(order.id)
        self.stream[order.id] = order
        self.has_stream = True
        wake = self.awake_until <= self.clock.now
        if wake:
            self.awake_until = self.clock.now + 1
        return "admitted", order.id, wake

    def _refusal(self, order: Admitted, token: str) -> tuple[str, int, bool] | None:
        receipt = self.receipts.get(order.seq)
        if receipt:
            owner, digest, known = receipt
            if owner != order.customer:
                return "seq_taken", 0, False
            return ("replayed", known, False) if digest == order.digest else ("mismatch", 0, False)
        if not self.has_meta:
            return "gate_missing", 0, False
        if self.rebuilding:
            return "paused", 0, False
        if self._live(self.tokens, token) is None:
            used = self._live(self.spent, token) == order.customer
            return "token_used" if used else "token_invalid", 0, False
        if self.buyers.get(order.customer, 0) + order.units > self.per_customer:
            return "limit_per_customer", 0, False
        if self.unpaid.get(order.customer, 0) >= MOST_UNPAID:
            return "too_many_unpaid", 0, False
        if self.stock < order.units:
            return "sold_out", 0, False
        return None

    def waiting(self) -> tuple[int, int]:
        return len(self.stream) - len(self.claimed), len(self.claimed)

    def claim(self, limit: int, in_flight: int) -> list[Admitted]:
        self.awake_until = 0
        if not self.has_stream:
            return []
        self.has_group = True
        if len(self.claimed) >= in_flight:
            return []
        taken = [order for pk, order in self.stream.items() if pk not in self.claimed][:limit]
        for order in taken:
            self.claimed[order.id] = self.clock.now
        return taken

    def steal(self) -> list[Admitted]:
        idle = [pk for pk in self.stream if self.clock.now - self.claimed.get(pk, self.clock.now) >= STEAL_AFTER_S]
        for pk in idle:
            self.claimed[pk] = self.clock.now
        return [self.stream[pk] for pk in idle]

    def ack(self, orders: list[Admitted]) -> bool:
        for order in orders:
            self.stream.pop(order.id, None)
            self.claimed.pop(order.id, None)
            self.queued.discard(order.id)
        if not self.has_group or len(self.stream) <= len(self.claimed):
            return False
        self.awake_until = self.clock.now + 1
        return True

    def settle(self, ids: list[int]) -> str:
        if not self.present or self.rebuilding:
            return "rebuilding" if self.present else "gate_missing"
        for pk in ids:
            self.sold += self.held.pop(pk, (0, 0))[1]
        return "done"

    def release(self, ids: list[int]) -> str:
        if not self.present or self.rebuilding:
            return "rebuilding" if self.present else "gate_missing"
        for pk in ids:
            if pk in self.held:
                self._give_back(*self.held.pop(pk))
                self.queued.discard(pk)
        return "done"

    def expired(self, ids: list[int]) -> str:
        customers = [self.held[pk][0] for pk in ids if pk in self.held]
        code = self.release(ids)
        if code == "done":
            for customer in customers:
                self.unpaid[customer] = self.unpaid.get(customer, 0) + 1
        return code

    def _give_back(self, customer: int, units: int) -> None:
        self.stock += units
        self.buyers[customer] = self.buyers.get(customer, 0) - units
        if self.buyers[customer] <= 0:
            del self.buyers[customer]

    def acquire(self, name: str, owner: str) -> int:
        if self.locks.get(name, ("", 0))[1] > self.clock.now:
            return 0
        self.locks[name] = owner, self.clock.now + LOCK_TTL_S
        self.fences[name] = max(self.fences.get(name, 0) + 1, self.clock.now_us)
        return self.fences[name]

    def unlock(self, name: str, owner: str) -> None:
        if self.locks.get(name, ("", 0))[0] == owner:
            del self.locks[name]

    def begin(self, fence: int) -> str:
        if self.fence > fence:
            return "fenced"
        self.fence = self.rebuilding = fence
        self.has_meta = True
        return "done" if self.present else "gate_missing"

    def open(self, fence: int, view: View) -> str:
        expired = view.at + STAGE_TTL_S <= self.clock.now and (view.held or view.buyers)
        if self.rebuilding != fence or expired:
            return "fenced"
        self.rebuilding, self.awake_until = None, 0
        self.present = True
        self.stock, self.sold = view.stock, view.sold
        self.held, self.buyers = dict(view.held), dict(view.buyers)
        self.version, self.allocated, self.life = view.terms
        return "done"

    def versions(self) -> tuple[int, int] | None:
        return (self.version, self.allocated) if self.present and not self.rebuilding else None

    def configure(self, terms: Terms, seen: tuple[int, int]) -> str:
        if not self.present or self.rebuilding:
            return "rebuilding" if self.present else "gate_missing"
        if (self.version, self.allocated) != seen:
            return "fenced"
        self.stock += terms.allocated - self.allocated
        self.version, self.allocated, self.life = terms
        return "done"

    def withhold(self, units: int) -> str:
        if not self.present or self.rebuilding:
            return "rebuilding" if self.present else "gate_missing"
        if self.stock < units:
            return "too_few"
        self.stock -= units
        self.allocated -= units
        return "done"
