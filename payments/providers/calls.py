"""Calls to a provider over the network: so many at once, at the pace that it allows, behind its circuit breaker."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from queue import Empty, SimpleQueue
from typing import TypeVar

from flashsale.core.breaker import CircuitBreaker
from flashsale.ratelimit.in_process import limiter, rules_at
from flashsale.ratelimit.rules import Rule
from payments.providers.base import ChargeRequest, ChargeResult, Outcome, ProviderUnavailable

logger = logging.getLogger(__name__)
T = TypeVar("T")
PLACE = "call:payments"  # of the rules in the admin
_GATHER_S = 0.04  # answers that come within it are applied together
_GRACE_S = 1.0  # a call that takes longer than this behind the last one is not waited for
_MARGIN = 1.03  # calls travel for different times: so many closer together are still within the limit
_BOOKINGS = 20  # a second


@dataclass(slots=True)
class _Turn:
    """The calls of one `run`: their answers, and how many are missing."""

    answers: "SimpleQueue[ChargeResult]" = field(default_factory=SimpleQueue)
    missing: int = 0
    last_begun: float = field(default_factory=time.monotonic)

    def take(self, wait_s: float) -> ChargeResult | None:
        try:
            answer = self.answers.get(timeout=wait_s) if wait_s > 0 else self.answers.get_nowait()
        except Empty:
            return None
        self.missing -= 1
        return answer


class Calls:
    """Thread-safe. A process that forks makes its threads after it."""

    def __init__(self, name: str, *, per_second: int, at_once: int, breaker: CircuitBreaker) -> None:
        """
        Args:
            name: of the provider.
            per_second: calls over all processes, where no rule of the admin says otherwise.
            at_once: calls of this process that may be under way.
        """
        self._rule = Rule(
            name=f"call-{name}",
            applies_to=PLACE,
            key="all",
            algorithm="leaky_bucket",
            rate=per_second,
            max_wait_ms=60_000,
            on_limit="queue",
            on_failure="share",
        )
        self._at_once = at_once
        self.breaker = breaker
        self._left: deque[_Turn] = deque()

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._at_once, thread_name_prefix=self._rule.name)

    @cached_property
    def _room(self) -> threading.BoundedSemaphore:
        return threading.BoundedSemaphore(self._at_once)

    def run(
        self, work: Callable[[ChargeRequest], ChargeResult], requests: Sequence[ChargeRequest]
    ) -> Iterator[list[ChargeResult]]:
        """Work on each request beside the others; groups of answers as they come.

        A call that takes much longer than the others is left behind; its answer comes with those of a later run.
        """
        turn = _Turn(missing=len(requests))
        feeder = threading.Thread(target=self._feed, args=(work, deque(requests), turn), daemon=True)
        feeder.start()
        try:
            if late := self._late():
                yield late
            while turn.missing:
                if group := _gather(turn):
                    yield group
                elif not feeder.is_alive() and time.monotonic() - turn.last_begun > _GRACE_S:
                    break
        finally:
            if turn.missing:
                self._left.append(turn)

    def _late(self) -> list[ChargeResult]:
        """Answers to earlier runs."""
        late = []
        for _ in range(len(self._left)):
            turn = self._left.popleft()
            while (answer := turn.take(0)) is not None:
                late.append(answer)
            if turn.missing:
                self._left.append(turn)
        return late

    def _feed(self, work: Callable[[ChargeRequest], ChargeResult], requests: deque[ChargeRequest], turn: _Turn) -> None:
        slots: deque[float] = deque()
        while requests:
            request = requests.popleft()
            self._room.acquire()
            if not self.breaker.may_ask():
                self._room.release()
                wait_s = max(0.1, self.breaker.retry_after_s())
                turn.answers.put(ChargeResult(request, Outcome.POSTPONED, retry_after_s=wait_s))
                continue
            if not slots:
                slots.extend(self._book(len(requests) + 1))
            time.sleep(max(0.0, slots.popleft() - time.monotonic()))
            turn.last_begun = time.monotonic()
            self._pool.submit(self._work, work, request, turn)

    def _work(self, work: Callable[[ChargeRequest], ChargeResult], request: ChargeRequest, turn: _Turn) -> None:
        answer = ChargeResult(request, Outcome.UNKNOWN)
        try:
            answer = work(request)
        except Exception:  # a fault of ours costs the others nothing; this one is asked about again
            logger.exception("call broke", extra={"event": "provider_call_broke", "payment": request.key})
        finally:
            self._room.release()
            turn.answers.put(answer)

    def one(self, call: Callable[[], T]) -> T:
        """One call, in this thread, at its time.

        Raises:
            ProviderUnavailable: the breaker is open.
        """
        if not self.breaker.may_ask():
            raise ProviderUnavailable(retry_after=max(1.0, self.breaker.retry_after_s()))
        time.sleep(max(0.0, self._book(1)[0] - time.monotonic()))
        return call()

    def _book(self, calls: int) -> list[float]:
        """When, by the monotonic clock, the next calls may begin; so many at most."""
        rules = [_with_margin(rule) for rule in rules_at(PLACE) or [self._rule] if rule.algorithm == "leaky_bucket"]
        if not rules:
            return [time.monotonic()]
        interval_s = max(rule.window_ms / 1000 / rule.rate for rule in rules)
        part = max(1, min(calls, int(1 / interval_s / _BOOKINGS)))
        while not (decision := limiter().check([(rule, "all") for rule in rules], part)).allowed:
            time.sleep(max(interval_s, min(1.0, decision.retry_after_s)))
        begins = time.monotonic() + decision.wait_s
        return [begins + number * interval_s for number in range(part)]


def _with_margin(rule: Rule) -> Rule:
    return replace(rule, window_ms=int(rule.window_ms * _MARGIN), max_wait_ms=max(rule.max_wait_ms, 60_000))


def _gather(turn: _Turn) -> list[ChargeResult]:
    """The next answer, and those that come within a moment of it."""
    first = turn.take(_GATHER_S)
    if first is None:
        return []
    group, ends = [first], time.monotonic() + _GATHER_S
    while turn.missing and (answer := turn.take(ends - time.monotonic())) is not None:
        group.append(answer)
    return group
