"""The limiter: decides by rules, in one round trip, or none for a key that is known to be refused."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import redis

from flashsale.core.breaker import CircuitBreaker
from flashsale.core.metrics import LIMIT_DECISIONS, LIMIT_NEAR, child
from flashsale.ratelimit.algorithms.leaky_bucket import LeakyBucket
from flashsale.ratelimit.deny_cache import DenyCache
from flashsale.ratelimit.limit import SECOND_US, Algorithm, Check, Mode, Reading, Store, Verdict
from flashsale.ratelimit.rule import Rule, share_of
from flashsale.ratelimit.stores.memory_store import MemoryStore

logger = logging.getLogger(__name__)
_NEAR = 5  # near the limit: at most 1/5 is left
_WARN_EVERY_S = 1.0
_UNKNOWN = Reading(True, 0, 0, 0, 0)

Asked = Sequence[tuple[Rule, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """A rule's part of a decision."""

    rule: Rule
    key: str
    reading: Reading


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision on a request.

    ``granted``: units, 0 if refused. ``binding``: the rule that refused it or is closest to its limit, None without rules.
    ``wait_s``: the longest wait that a leaky bucket requires. ``now_us``: the time of the store that decided.
    """

    granted: int
    binding: Answer | None = None
    wait_s: float = 0.0
    now_us: int = 0
    answers: tuple[Answer, ...] = field(default=())

    @property
    def allowed(self) -> bool:
        """Whether units were granted."""
        return self.granted > 0

    @property
    def retry_after_s(self) -> float:
        """Seconds after which the same request may pass."""
        return self.binding.reading.retry_after_us / SECOND_US if self.binding else 0.0


@dataclass(frozen=True, slots=True)
class Question:
    """A request to a store: rules with their values, and the units."""

    asked: Asked
    cost: int

    @property
    def checks(self) -> list[Check]:
        """The store's format."""
        return [Check(rule.redis_key(value), rule.limit, rule.on_limit != "log") for rule, value in self.asked]


class Limiter:
    """Decides by rules. If Redis is down, each rule's ``on_failure`` decides; nothing is raised. Thread-safe."""

    def __init__(self, store: Store, *, breaker: CircuitBreaker | None = None, nodes: int = 1) -> None:
        """
        Args:
            store: the store of the shared state.
            nodes: number of processes that share the limits, for the local shares while the store is down.
        """
        self.store = store
        self.breaker = breaker or CircuitBreaker()
        self.nodes = nodes
        self.denied = DenyCache()
        self._local = MemoryStore()
        self._warned: dict[str, float] = {}

    def check(self, asked: Asked, cost: int = 1, *, mode: Mode = "take") -> Decision:
        """Decide several rules together, all or nothing.

        Args:
            asked: rules with the value that each counts, such as an address or a customer.
            cost: units. A cost that a rule can never grant is refused, or lowered in the modes ``fill`` and ``now``.
            mode: see ``Store.decide``.
        """
        prepared = self.prepare(asked, cost, mode)
        if isinstance(prepared, Decision):
            return prepared
        try:
            verdict = self.store.decide(prepared.checks, prepared.cost, mode=mode)
        except (redis.RedisError, OSError) as error:
            return self.fail(prepared, error, mode)
        return self.conclude(prepared, verdict)

    def prepare(self, asked: Asked, cost: int, mode: Mode = "take") -> "Decision | Question":
        """The decision if the store is not needed or must not be used, otherwise the question for it."""
        if not asked:
            return Decision(cost)
        if mode in ("fill", "now"):
            cost = min([cost, *(most(rule.limit) for rule, _ in asked if rule.on_limit != "log")])
        fitting, too_small = _by_fit(asked, cost)
        for rule, value in too_small:
            if rule.on_limit != "log":
                return self._counted(_never(rule, value), cost, remember=False)
            self._shadowed(rule, value)
        if not fitting:
            return Decision(cost)
        known = self._known_refusal(fitting, cost) if mode == "take" else None
        if known:
            return self._counted(known, cost)
        question = Question(fitting, cost)
        if not self.breaker.may_ask():
            return self._without_store(question, mode)
        return question

    def fail(self, question: "Question", error: Exception, mode: Mode = "take") -> Decision:
        """The decision after a failed store call. An error answer does not count as the store being down."""
        if not isinstance(error, redis.exceptions.ResponseError):
            self.breaker.failed()
        logger.warning("rate limits decided without Redis", extra={"event": "limiter_store_away", "error": repr(error)})
        return self._without_store(question, mode)

    def conclude(self, question: "Question", verdict: Verdict) -> Decision:
        """The decision that follows from the store's verdict."""
        self.breaker.succeeded()
        decision = _decision(question.asked, verdict.granted, verdict.now_us, verdict.readings)
        return self._counted(decision, question.cost)

    def refused_already(self, asked: Asked) -> Decision | None:
        """A stored refusal of one unit that still applies. None if the store must be asked."""
        known = self._known_refusal(asked, 1)
        return self._counted(known, 1) if known else None

    def _known_refusal(self, asked: Asked, cost: int) -> Decision | None:
        for rule, value in asked:
            left = self.denied.retry_after_us(rule.redis_key(value), cost) if rule.on_limit == "reject" else 0
            if left:
                answer = Answer(rule, value, Reading(False, 0, 0, left, left))
                return Decision(0, answer, answers=(answer,))
        return None

    def _without_store(self, question: "Question", mode: Mode) -> Decision:
        return self._counted(self._local_decision(question, mode), question.cost, remember=False)

    def _local_decision(self, question: "Question", mode: Mode) -> Decision:
        asked, cost = question.asked, question.cost
        closed = next(((rule, value) for rule, value in asked if rule.on_failure == "closed" and rule.on_limit != "log"), None)
        if closed:
            until_us = max(1, int(self.breaker.retry_after_s() * SECOND_US))
            answer = Answer(*closed, Reading(False, 0, 0, until_us, until_us))
            return Decision(0, answer, answers=(answer,))
        shared = [(rule, value) for rule, value in asked if rule.on_failure == "share"]
        if not shared:
            return Decision(cost)
        limits = [share_of(rule.limit, self.nodes) for rule, _ in shared]
        checks = [
            Check(rule.redis_key(value), limit, rule.on_limit != "log")
            for (rule, value), limit in zip(shared, limits, strict=True)
        ]
        share = min(cost, *(most(limit) for limit in limits))
        verdict = self._local.decide(checks, share, mode=mode)
        # A cost over this node's share passes while the share is unused. The overshoot is at most one such request per node.
        granted = cost if verdict.granted == share and mode == "take" else verdict.granted
        return _decision(shared, granted, verdict.now_us, verdict.readings)

    def give_back(self, check: Check, end_us: int, units: int) -> bool:
        """Return the end of a leaky bucket's reservation, if the store is available and no later reservation exists."""
        if not isinstance(check.algorithm, LeakyBucket) or not self.breaker.may_ask():
            return False
        try:
            return self.store.give_back(check, end_us, units)
        except (redis.RedisError, OSError):
            self.breaker.failed()
            return False

    def _counted(self, decision: Decision, cost: int, *, remember: bool = True) -> Decision:
        """Count a decision in the metrics. ``remember``: cache its refusal, which applies to every process."""
        for answer in decision.answers:
            rule, reading = answer.rule, answer.reading
            if reading.passed:
                child(LIMIT_DECISIONS, rule.name, "passed" if decision.granted else "refunded").inc()
                if reading.remaining * _NEAR <= most(rule.limit):
                    child(LIMIT_NEAR, rule.name).inc()
            elif rule.on_limit == "log":
                self._shadowed(rule, answer.key)
            else:
                child(LIMIT_DECISIONS, rule.name, "limited").inc()
                if remember and rule.on_limit == "reject" and not decision.granted:
                    self.denied.deny(rule.redis_key(answer.key), cost, reading.retry_after_us)
        return decision

    def _shadowed(self, rule: Rule, key: str) -> None:
        child(LIMIT_DECISIONS, rule.name, "shadowed").inc()
        moment = time.monotonic()
        if moment - self._warned.get(rule.name, -_WARN_EVERY_S) >= _WARN_EVERY_S:
            self._warned[rule.name] = moment
            logger.warning(
                "shadow rule is over its limit",
                extra={"event": "shadow_limit", "rule": rule.name, "key": key},
            )


def _by_fit(asked: Asked, cost: int) -> tuple[list[tuple[Rule, str]], list[tuple[Rule, str]]]:
    """The rules that can grant this cost, and those that never can."""
    fitting: list[tuple[Rule, str]] = []
    too_small: list[tuple[Rule, str]] = []
    for rule, value in asked:
        (fitting if cost <= most(rule.limit) else too_small).append((rule, value))
    return fitting, too_small


def _never(rule: Rule, value: str) -> Decision:
    """The refusal of a cost that the rule can never grant. Retry-After is the time until the limit is unused."""
    answer = Answer(rule, value, Reading(False, 0, most(rule.limit), rule.limit.window_us, 0))
    return Decision(0, answer, answers=(answer,))


def _decision(asked: Asked, granted: int, now_us: int, readings: Sequence[Reading]) -> Decision:
    answers = tuple(Answer(rule, value, reading) for (rule, value), reading in zip(asked, readings, strict=True))
    binding = [answer for answer in answers if answer.rule.on_limit != "log"]
    if not binding:
        return Decision(granted, None, 0.0, now_us, answers)
    if granted:
        closest = min(binding, key=lambda answer: answer.reading.remaining / most(answer.rule.limit))
    else:
        closest = max(binding, key=lambda answer: answer.reading.retry_after_us)
    wait_s = max(answer.reading.wait_us for answer in binding) / SECOND_US
    return Decision(granted, closest, wait_s, now_us, answers)


def most(limit: Algorithm) -> int:
    """The largest cost that a limit can grant at once."""
    return getattr(limit, "sub_limit", 0) or limit.limit
