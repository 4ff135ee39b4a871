"""Reserved slots of a worker in the queue's leaky bucket: when its next message may start."""

import time
from dataclasses import dataclass

from flashsale.ratelimit.rule import Rule
from tasks.worker import pace

# Tolerance for timers and broker round trips: a slot that ended less than this ago is still valid.
_GRACE_S = 0.03


@dataclass(slots=True)
class _Slot:
    """A slot for this many orders, from ``begins`` to ``ends``."""

    orders: int
    begins: float
    ends: float

    def use(self, orders: int) -> None:
        self.begins += (self.ends - self.begins) * orders / self.orders
        self.orders -= orders


class ReservedSlots:
    """The slots that a worker has reserved in a queue's bucket, and the orders it still has to reserve for.

    A slot is not tied to a message, so no message is held until the slot is due. A message with more orders than its slot
    starts anyway; the next message waits until the rest is reserved too.
    """

    def __init__(self, queue: str) -> None:
        self._queue = queue
        self._slot: _Slot | None = None
        self._owed = 0
        self._usual = 1  # orders of the last message, used as an estimate for the next one
        self._through_s = 0.0  # end of the last reservation, relative to when it was made
        self._rules: list[Rule] = []

    def wait_s(self, orders: int) -> float:
        """Seconds until a message with so many orders may start. Reserves its slot. If above 0, call again after that time."""
        self._forget_what_other_rules_said()
        while self._owed:
            part = pace.book(self._queue, self._owed)
            if not part.orders:
                return part.wait_s
            self._owed -= part.orders
            self._through_s = part.through_s
        if self._slot is None:
            booking = pace.book(self._queue, orders)
            if not booking.orders:
                return booking.wait_s
            now = time.monotonic()
            self._through_s = booking.through_s
            self._slot = _Slot(booking.orders, now + booking.wait_s, now + booking.through_s)
        return self._slot.begins - time.monotonic()

    def next_s(self, *, unless_within: float) -> float:
        """Seconds until the next message of any size may start. Reserves nothing if the last one took at most this long."""
        self._forget_what_other_rules_said()
        if self._owed or self._slot or self._through_s > unless_within:
            return self.wait_s(self._usual)
        return 0.0

    def leave(self, orders: int) -> None:
        """Record that a message starts in the slot that ``wait_s`` reported as due."""
        self._usual = orders
        if self._slot is None:
            return
        used = min(orders, self._slot.orders)
        self._owed += orders - used
        self._slot.use(used)
        if not self._slot.orders:
            self._slot = None

    def _forget_what_other_rules_said(self) -> None:
        rules = pace.rules_of(self._queue)
        if rules != self._rules:
            self._rules, self._slot, self._owed, self._through_s = rules, None, 0, 0.0
        elif self._slot and time.monotonic() > self._slot.ends + _GRACE_S:
            self._slot = None
