"""Waiting in an item's line.

A place has a number. The line's numbers are the same for everybody and cost the shop nothing. The client asks with the ticket
when its number is served, and at the interval that the shop names once the turn is near.
"""

import math
import time
from collections.abc import Callable
from dataclasses import replace

from flashsale_client.errors import FlashsaleError, NotFound, Paused, StillWaiting
from flashsale_client.models import Numbers, Place, PurchaseToken
from flashsale_client.steps import Answer, Deadline, Flow, Pause, Request, jittered, read

REQUEST_TIMEOUT_S = 5.0
LONGEST_PAUSE_S = 15.0


class InLine:
    """A place in line, and when to look next."""

    def __init__(self, line_path: str, ticket_path: str, place: Place) -> None:
        self._line_request = Request("GET", line_path, REQUEST_TIMEOUT_S)
        self._ticket_request = Request("GET", ticket_path, REQUEST_TIMEOUT_S)
        self._place = place
        self._numbers: Numbers | None = None
        self._has_numbers = place.number is not None  # an older server has none: then the ticket is asked about each time
        self._asked_at = time.monotonic()

    def wait(
        self, once: Callable[..., Flow[Answer]], deadline: Deadline, on_wait: Callable[[Place], None]
    ) -> Flow[PurchaseToken]:
        """The purchase token of the turn.

        Raises:
            StillWaiting: the deadline came first.
            FlashsaleError: the line has ended, or the place is gone.
        """
        on_wait(self._place)
        seconds, failures = min(LONGEST_PAUSE_S, max(1.0, self._place.retry_after)), 0
        while True:
            if seconds > deadline.left():
                raise StillWaiting(self._place)
            yield Pause(seconds)
            try:
                token = yield from self._look(once, deadline)
            except FlashsaleError as error:
                if not error.is_temporary and not isinstance(error, Paused):
                    raise
                failures += 1
                seconds = (error.retry_after or 0) + jittered(min(LONGEST_PAUSE_S, 2 ** min(failures - 1, 10)))
                continue
            if token is not None:
                return token
            on_wait(self._place)
            seconds, failures = self._pause(), 0

    def _look(self, once: Callable[..., Flow[Answer]], deadline: Deadline) -> Flow[PurchaseToken | None]:
        if self._has_numbers:
            try:
                self._learn(read(Numbers.of, (yield from once(self._line_request, deadline, is_public=True)).data))
            except NotFound:
                self._has_numbers = False
        if self._has_numbers and not self._is_due():
            return None
        self._asked_at = time.monotonic()
        data = (yield from once(self._ticket_request, deadline)).data
        if "token" in data:
            return read(PurchaseToken.of, data)
        self._place = read(lambda data: Place.of(data, ticket=self._place.ticket), data)
        return None

    def _learn(self, numbers: Numbers) -> None:
        self._numbers = numbers
        position = max(1, min(self._place.position, (self._place.number or 0) - numbers.now_serving))
        wait = math.ceil(position / numbers.rate) if numbers.rate > 0 else self._place.estimated_wait
        self._place = replace(self._place, position=position, remaining=numbers.remaining, estimated_wait=wait)

    def _is_due(self) -> bool:
        if self._numbers is None or self._place.number is None:
            return True
        is_near = self._place.number <= self._numbers.check_in
        silence = time.monotonic() - self._asked_at
        return self._place.number <= self._numbers.now_serving or (
            is_near and silence + self._numbers.retry_after > self._numbers.check_in_every
        )

    def _pause(self) -> float:
        if self._numbers is None or not self._has_numbers:
            return min(LONGEST_PAUSE_S, max(1.0, self._place.retry_after))
        turn = (self._place.estimated_wait or 0) / 2
        return jittered(max(1.0, min(self._numbers.retry_after, turn)))
