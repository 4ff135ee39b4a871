"""The limiter: rules in, a decision out; one round trip, and none for a key that is known to be refused."""

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
_NEAR = 5  # at most a fifth is left
_WARN_EVERY_S = 1.0
_UNKNOWN = Reading(True, 0, 0, 0, 0)

Asked = Sequence[tuple[Rule, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """One rule's part in a decision."""

    rule: Rule
    key: str
    reading: Reading


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of a request.

    ``granted``: units, 0 when refused. ``binding``: the rule that refused it or came closest to, None without rules.
    ``wait_s``: the longest wait that a leaky bucket asks for. ``now_us``: the time of the store that decided.
    """

    granted: int
    binding: Answer | None = None
    wait_s: float = 0.0
    now_us: int = 0
    answers: tuple[Answer, ...] = field(default=())

    @property
    def allowed(self) -> bool:
        """Whether anything was granted."""
        return self.granted > 0

    @property
    def retry_after_s(self) -> float:
        """Seconds after which the same request may pass."""
        return self.binding.reading.retry_after_us / SECOND_US if self.binding else 0.0


@dataclass(frozen=True, slots=True)
class Question:
    """What a store is asked: rules with their values, and the units."""

    asked: Asked
    cost: int

    @property
    def checks(self) -> list[Check]:
        """As the store takes them."""
        return [Check(rule.redis_key(value), rule.limit, rule.on_limit != "log") for rule, value in self.asked]


class Limiter:
    """Decides by rules. Never raises because Redis is gone: then each rule says what happens. Thread-safe."""

    def __init__(self, store: Store, *, breaker: CircuitBreaker | None = None, nodes: int = 1) -> None:
        """
        Args:
            store: where the shared state is.
            nodes: processes that share the limits, for the local share of each while the store is away.
        """
        self.store = store
        self.breaker = breaker or CircuitBreaker()
        self.nodes = nodes
        self.denied = DenyCache()
        self._local = MemoryStore()
        self._warned: dict[str, float] = {}

    def check(self, asked: Asked, cost: int = 1, *, mode: Mode = "take") -> Decision:
        """Decide several rules at once, all or nothing.

        Args:
            asked: rules with the value each counts (an address, a customer).
            cost: units. A cost that a rule could never grant is refused by it, or, in the modes that take what fits, lowered.
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
        """The decision where the store need not or must not be asked, else what to ask it."""
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
        """The decision after the store did not answer. An answer that is an error is no sign that the store is away."""
        if not isinstance(error, redis.exceptions.ResponseError):
            self.breaker.failed()
        logger.warning("limits decided without Redis", extra={"event": "limiter_store_away", "error": repr(error)})
        return self._without_store(question, mode)

    def conclude(self, question: "Question", verdict: Verdict) -> Decision:
        """The decision that the store's verdict means."""
        self.breaker.succeeded()
        decision = _decision(question.asked, verdict.granted, verdict.now_us, verdict.readings)
        return self._counted(decision, question.cost)

    def refused_already(self, asked: Asked) -> Decision | None:
        """A refusal of one unit that this process has heard before and that still holds; None: the store must be asked."""
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
        # A cost over this node's share passes while the share is whole: the overshoot is bounded by one such request a node.
        granted = cost if verdict.granted == share and mode == "take" else verdict.granted
        return _decision(shared, granted, verdict.now_us, verdict.readings)

    def give_back(self, check: Check, end_us: int, units: int) -> bool:
        """Return the end of a leaky bucket's booking, if the store can be asked and nobody has booked since."""
        if not isinstance(check.algorithm, LeakyBucket) or not self.breaker.may_ask():
            return False
        try:
            return self.store.give_back(check, end_us, units)
        except (redis.RedisError, OSError):
            self.breaker.failed()
            return False

    def _counted(self, decision: Decision, cost: int, *, remember: bool = True) -> Decision:
        """Count a decision; ``remember``: its refusal holds for every process, so it need not be asked for again."""
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
                "over the limit of a shadow rule",
                extra={"event": "shadow_limit", "rule": rule.name, "key": key},
            )


def _by_fit(asked: Asked, cost: int) -> tuple[list[tuple[Rule, str]], list[tuple[Rule, str]]]:
    """The rules that could grant such a cost, and those that never could."""
    fitting: list[tuple[Rule, str]] = []
    too_small: list[tuple[Rule, str]] = []
    for rule, value in asked:
        (fitting if cost <= most(rule.limit) else too_small).append((rule, value))
    return fitting, too_small


def _never(rule: Rule, value: str) -> Decision:
    """The refusal of a cost that the rule can never grant; there is no better time to ask than when the limit is whole."""
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
