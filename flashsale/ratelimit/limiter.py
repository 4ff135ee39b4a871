"""The limiter: rules in, a decision out; one round trip, and none for a key that is known to be refused."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import redis

from flashsale.core.breaker import CircuitBreaker
from flashsale.core.metrics import LIMIT_DECISIONS, LIMIT_NEAR
from flashsale.ratelimit.deny_cache import DenyCache
from flashsale.ratelimit.leaky_bucket import LeakyBucket
from flashsale.ratelimit.limit import SECOND_US, Algorithm, Check, Mode, Reading, Store, Verdict
from flashsale.ratelimit.memory_store import MemoryStore
from flashsale.ratelimit.rules import Rule, share_of

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
            cost: units; a rule that could never grant so many is asked for the most it can.
            mode: see ``Store.decide``.
        """
        prepared = self.prepare(asked, cost, mode)
        if isinstance(prepared, Decision):
            return prepared
        checks, cost = prepared
        try:
            verdict = self.store.decide(checks, cost, mode=mode)
        except (redis.RedisError, OSError) as error:
            return self.fail(asked, cost, error, mode)
        return self.conclude(asked, cost, verdict)

    def prepare(self, asked: Asked, cost: int, mode: Mode = "take") -> Decision | tuple[list[Check], int]:
        """The decision where the store need not or must not be asked, else what to ask it."""
        if not asked:
            return Decision(cost)
        cost = min(cost, *(most(rule.limit) for rule, _ in asked))
        known = self._known_refusal(asked, cost)
        if known:
            return self._counted(known, cost)
        if not self.breaker.may_ask():
            return self._counted(self._without_store(asked, cost, mode), cost)
        return [Check(rule.redis_key(value), rule.limit, rule.on_limit != "log") for rule, value in asked], cost

    def fail(self, asked: Asked, cost: int, error: Exception, mode: Mode = "take") -> Decision:
        """The decision after the store did not answer."""
        self.breaker.failed()
        if self.breaker.state != "closed":
            logger.warning("limits decided without Redis", extra={"event": "limiter_store_away", "error": repr(error)})
        return self._counted(self._without_store(asked, cost, mode), cost)

    def conclude(self, asked: Asked, cost: int, verdict: Verdict) -> Decision:
        """The decision that the store's verdict means."""
        self.breaker.succeeded()
        return self._counted(self._decision(asked, verdict.granted, verdict.now_us, verdict.readings), cost)

    def _known_refusal(self, asked: Asked, cost: int) -> Decision | None:
        for rule, value in asked:
            left = self.denied.retry_after_us(rule.redis_key(value), cost) if rule.on_limit == "reject" else 0
            if left:
                answer = Answer(rule, value, Reading(False, 0, 0, left, left))
                return Decision(0, answer, answers=(answer,))
        return None

    def _decision(self, asked: Asked, granted: int, now_us: int, readings: Sequence[Reading]) -> Decision:
        answers = tuple(Answer(rule, value, reading) for (rule, value), reading in zip(asked, readings, strict=True))
        binding = [answer for answer in answers if answer.rule.on_limit != "log"]
        if not binding:
            return Decision(granted, None, 0.0, now_us, answers)
        if granted:
            closest = min(binding, key=lambda answer: answer.reading.remaining / answer.rule.limit.limit)
        else:
            closest = max(binding, key=lambda answer: answer.reading.retry_after_us)
        wait_s = max(answer.reading.wait_us for answer in binding) / SECOND_US
        return Decision(granted, closest, wait_s, now_us, answers)

    def _without_store(self, asked: Asked, cost: int, mode: Mode) -> Decision:
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
        granted = cost if verdict.granted == share and mode == "take" else verdict.granted
        return self._decision(shared, granted, verdict.now_us, verdict.readings)

    def give_back(self, check: Check, end_us: int, units: int) -> bool:
        """Return the end of a leaky bucket's booking, if the store can be asked and nobody has booked since."""
        if not isinstance(check.algorithm, LeakyBucket) or not self.breaker.may_ask():
            return False
        try:
            return self.store.give_back(check, end_us, units)
        except (redis.RedisError, OSError):
            self.breaker.failed()
            return False

    def _counted(self, decision: Decision, cost: int) -> Decision:
        for answer in decision.answers:
            rule, reading = answer.rule, answer.reading
            if reading.passed:
                LIMIT_DECISIONS.labels(rule.name, "passed" if decision.granted else "refunded").inc()
                if reading.remaining * _NEAR <= rule.limit.limit:
                    LIMIT_NEAR.labels(rule.name).inc()
            elif rule.on_limit == "log":
                LIMIT_DECISIONS.labels(rule.name, "shadowed").inc()
                self._warn(answer)
            else:
                LIMIT_DECISIONS.labels(rule.name, "limited").inc()
                if rule.on_limit == "reject" and not decision.granted:
                    self.denied.deny(rule.redis_key(answer.key), cost, reading.retry_after_us)
        return decision

    def _warn(self, answer: Answer) -> None:
        moment = time.monotonic()
        if moment - self._warned.get(answer.rule.name, -_WARN_EVERY_S) >= _WARN_EVERY_S:
            self._warned[answer.rule.name] = moment
            logger.warning(
                "over the limit of a shadow rule",
                extra={"event": "shadow_limit", "rule": answer.rule.name, "key": answer.key},
            )


def most(limit: Algorithm) -> int:
    """The largest cost that a limit can grant at once."""
    return getattr(limit, "sub_limit", 0) or limit.limit
