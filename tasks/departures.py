"""When the next message of a queue may leave from this worker, whichever message that will be."""

import time
from dataclasses import dataclass

from flashsale.ratelimit.rules import Rule
from tasks import pace

# A timer and a trip to the broker are not exact: a slot that is over for less is still good.
_GRACE_S = 0.03


@dataclass(slots=True)
class _Slot:
    """Departures of so many orders, one after the other from ``begins`` to ``ends``."""

    orders: int
    begins: float
    ends: float

    def use(self, orders: int) -> None:
        self.begins += (self.ends - self.begins) * orders / self.orders
        self.orders -= orders


class Departures:
    """The slots that one worker has booked in a queue's bucket, and the orders that it owes the bucket.

    A slot belongs to no message, so nobody has to hold a message while the slot is not due. A message with more orders than
    its slot leaves all the same; the next one waits until the rest is booked too.
    """

    def __init__(self, queue: str) -> None:
        self._queue = queue
        self._slot: _Slot | None = None
        self._owed = 0
        self._usual = 1  # orders of the message before: the best guess at the next one
        self._through_s = 0.0  # of the last booking, when it was booked
        self._rules: list[Rule] = []

    def wait_s(self, orders: int) -> float:
        """Seconds until a message may leave; books its slot, or part of what is owed. Above 0 it has to be asked again then."""
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
        """Seconds until the next message may leave, whatever its size; not booked if the last took no longer than this."""
        self._forget_what_other_rules_said()
        if self._owed or self._slot or self._through_s > unless_within:
            return self.wait_s(self._usual)
        return 0.0

    def leave(self, orders: int) -> None:
        """A message leaves, in the slot that ``wait_s`` said is due."""
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
