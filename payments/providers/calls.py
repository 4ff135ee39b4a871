"""Calls to a provider over the network, with a limit of concurrent calls, a rate limit and a circuit breaker."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from queue import Empty, SimpleQueue
from typing import TypeVar

from flashsale.core.breaker import CircuitBreaker
from flashsale.ratelimit.breakers import breaker
from flashsale.ratelimit.in_process import limiter, rules_at
from flashsale.ratelimit.rule import Rule
from payments.providers.base import ChargeRequest, ChargeResult, Outcome, ProviderUnavailable

logger = logging.getLogger(__name__)
T = TypeVar("T")
Work = Callable[[ChargeRequest], ChargeResult]
PLACE = "call:payments"  # of the rules in the admin
_GATHER_S = 0.04  # answers that arrive within this time are applied together
_USUAL_S = 0.5  # assumed duration of a call before one is measured
_MARGIN = 1.045  # network delays differ: calls this much closer together are still within the limit
_BOOKINGS = 20  # a second
_STEP = 1.05
_LATE_S = 0.04  # less than the margin of a second, so a call that starts this much later is still within the limit


class _Answers:
    """Answers to some calls, and the number of missing ones. Thread-safe."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[ChargeResult | None] = SimpleQueue()
        self._lock = threading.Lock()
        self.missing = 0
        self.last_begun = time.monotonic()

    def expect(self, calls: int) -> None:
        with self._lock:
            self.missing += calls

    def put(self, answer: ChargeResult | None) -> None:
        """Add an answer. None only wakes the thread that waits."""
        self._queue.put(answer)

    def take(self, wait_s: float) -> ChargeResult | None:
        try:
            answer = self._queue.get(timeout=wait_s) if wait_s > 0 else self._queue.get_nowait()
        except Empty:
            return None
        if answer is not None:
            self.expect(-1)
        return answer

    def gather(self) -> list[ChargeResult]:
        """Wait for the next answer. Returns it with those that arrive just after it, or an empty list on timeout."""
        first = self.take(_GATHER_S)
        if first is None:
            return []
        group, ends = [first], time.monotonic() + _GATHER_S
        while self.missing and (answer := self.take(ends - time.monotonic())) is not None:
            group.append(answer)
        return group


class Calls:
    """Calls to one provider. Thread-safe. Threads start on first use, so a process may fork before."""

    def __init__(self, name: str, *, per_second: int, at_once: int) -> None:
        """
        Args:
            name: name of the provider and of its circuit breaker.
            per_second: calls per second over all processes, unless a rule in the admin overrides it.
            at_once: limit of concurrent calls of this process.
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
        self._name = name
        self._charges = _Answers()
        self._usual_s = _USUAL_S

    @property
    def breaker(self) -> CircuitBreaker:
        """Calls per second that the rule in force allows."""
        return breaker(self._name)

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._at_once, thread_name_prefix=self._rule.name)

    @cached_property
    def _room(self) -> threading.BoundedSemaphore:
        return threading.BoundedSemaphore(self._at_once)

    def charge(self, work: Work, requests: Sequence[ChargeRequest], *, more: bool) -> Iterator[list[ChargeResult]]:
        """Make a call for each request, concurrently. Yields groups of answers as they arrive.

        A call that takes much longer than the others is not waited for. A later charge yields its answer.

        Args:
            more: another charge follows at once, so do not wait for calls that have begun.
        """
        yield from self._run(work, requests, self._charges, more=more)

    def look_up(self, work: Work, requests: Sequence[ChargeRequest]) -> list[ChargeResult]:
        """Make a call for each request, concurrently. Returns all answers except those that take much longer than usual."""
        return [answer for group in self._run(work, requests, _Answers(), more=False) for answer in group]

    def _run(
        self,
        work: Work,
        requests: Sequence[ChargeRequest],
        answers: _Answers,
        *,
        more: bool,
    ) -> Iterator[list[ChargeResult]]:
        answers.expect(len(requests))
        fed = threading.Event()
        threading.Thread(target=self._feed, args=(work, requests, answers, fed), daemon=True).start()
        while answers.missing and not (more and fed.is_set()):
            if group := answers.gather():
                yield group
            elif fed.is_set() and time.monotonic() - answers.last_begun > self._grace_s:
                return

    @property
    def _grace_s(self) -> float:
        """Timeout for a call, in seconds, before the others go on without it."""
        return 0.3 + 2 * self._usual_s

    def _feed(self, work: Work, requests: Sequence[ChargeRequest], answers: _Answers, fed: threading.Event) -> None:
        try:
            self._begin_all(work, requests, answers)
        finally:
            fed.set()
            answers.put(None)

    def _begin_all(self, work: Work, requests: Sequence[ChargeRequest], answers: _Answers) -> None:
        slots: deque[float] = deque()
        for number, request in enumerate(requests):
            self._room.acquire()
            if not self.breaker.may_ask():
                self._room.release()
                wait_s = max(0.1, self.breaker.retry_after_s())
                code = ProviderUnavailable.code
                answers.put(ChargeResult(request, Outcome.POSTPONED, code=code, retry_after_s=wait_s))
                continue
            while slots and time.monotonic() - slots[0] > _LATE_S:
                slots.popleft()  # on a busy machine, missed calls are not made up for in a burst
            if not slots:
                slots.extend(self._book(len(requests) - number))
            time.sleep(max(0.0, slots.popleft() - time.monotonic()))
            answers.last_begun = time.monotonic()
            self._pool.submit(self._work, work, request, answers)

    def _work(self, work: Work, request: ChargeRequest, answers: _Answers) -> None:
        answer, began = ChargeResult(request, Outcome.UNKNOWN), time.monotonic()
        try:
            answer = work(request)
        except Exception:  # our own error must not affect the other calls; this one is repeated later
            logger.exception("call broke", extra={"event": "provider_call_broke", "payment": request.key})
        finally:
            self._room.release()
            answers.put(answer)
            # Converges to the median, however long the slowest calls take.
            self._usual_s *= _STEP if time.monotonic() - began > self._usual_s else 1 / _STEP

    def one(self, call: Callable[[], T]) -> T:
        """Make one call in this thread when the rate allows it.

        Raises:
            ProviderUnavailable: the breaker is open.
        """
        if not self.breaker.may_ask():
            raise ProviderUnavailable(retry_after=max(1.0, self.breaker.retry_after_s()))
        time.sleep(max(0.0, self._book(1)[0] - time.monotonic()))
        return call()

    @property
    def per_second(self) -> float:
        """How many calls may begin per second, over all processes."""
        return 1 / self._interval_s(self._rules())

    def _rules(self) -> list[Rule]:
        rules = [rule for rule in rules_at(PLACE) if rule.on_limit != "log"] or [self._rule]
        return [_with_margin(rule) for rule in rules]

    @staticmethod
    def _interval_s(rules: Sequence[Rule]) -> float:
        return max(rule.window_ms / 1000 / rule.rate for rule in rules)

    def _book(self, calls: int) -> list[float]:
        """Reserve times, on the monotonic clock, at which the next calls may begin, at most this many."""
        rules = self._rules()
        interval_s = self._interval_s(rules)
        part = max(1, min(calls, int(1 / interval_s / _BOOKINGS)))
        while not (decision := limiter().check([(rule, "all") for rule in rules], part)).allowed:
            time.sleep(max(interval_s, min(1.0, decision.retry_after_s)))
        begins = time.monotonic() + decision.wait_s
        return [begins + number * interval_s for number in range(part)]


def _with_margin(rule: Rule) -> Rule:
    return replace(rule, window_ms=int(rule.window_ms * _MARGIN), max_wait_ms=max(rule.max_wait_ms, 60_000))
