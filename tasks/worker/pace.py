"""The pace of the queues: one rate per queue, in orders, shared by all workers.

The dispatcher requests the pace of the whole chain and limits its batch to the granted orders; the rest stays in the stream.
Each later queue also has its own leaky bucket, for messages that do not come from the dispatcher.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

from django.conf import settings

from flashsale.ratelimit.in_process import limiter, rules_at
from flashsale.ratelimit.limit import SECOND_US, Check
from flashsale.ratelimit.limiter import Decision, most
from flashsale.ratelimit.rule import Rule

_CHAIN = ("inventory", "orders")
_BATCH_RULES = ("consume:dispatch", *(f"produce:{queue}" for queue in _CHAIN))


@dataclass(frozen=True, slots=True)
class Grant:
    """``orders`` that may start now. If 0, the number of seconds to wait before the next request."""

    orders: int
    retry_after_s: float
    decision: Decision


@dataclass(frozen=True, slots=True)
class Booking:
    """``orders`` may start in ``wait_s`` seconds and are done after ``through_s``. If 0, request again after ``wait_s``."""

    orders: int
    wait_s: float
    through_s: float = 0.0


def grant_batch(most: int) -> Grant:
    """How many of ``most`` orders may start now. One round trip, or none without rules."""
    decision = limiter().check([(rule, "all") for rule in rules_at(*_BATCH_RULES)], most, mode="now")
    return Grant(decision.granted, decision.retry_after_s or decision.wait_s, decision)


def give_back(grant: Grant, orders: int) -> None:
    """Return the part of a grant that was not used. Best effort."""
    for answer in grant.decision.answers:
        check = Check(answer.rule.redis_key(answer.key), answer.rule.limit)
        limiter().give_back(check, grant.decision.now_us + answer.reading.reset_after_us, orders)


def rules_of(queue: str) -> list[Rule]:
    """The active consumer rules of a queue.

    Their buckets hold at least a whole batch, whatever ``max_wait_ms`` says. In a smaller bucket the batches of several workers
    would be reserved in interleaved parts and start in bursts.
    """
    return [_with_room(rule, settings.BATCH_SIZE) for rule in rules_at(f"consume:{queue}")]


@lru_cache(maxsize=64)
def _with_room(rule: Rule, orders: int) -> Rule:
    interval_us = rule.limit.window_us // rule.limit.limit
    return replace(rule, max_wait_ms=max(rule.max_wait_ms, -(-interval_us * orders // 1000)))


def book(queue: str, orders: int) -> Booking:
    """Reserve a slot for a message of this queue, or for a part of it if it is larger than the bucket.

    A part is half the bucket. The next part is requested before this one is done, so no time is lost between them.
    """
    rules = rules_of(queue)
    room = min((most(rule.limit) for rule in rules if rule.on_limit != "log"), default=orders)
    part = orders if orders <= room else (room + 1) // 2
    decision = limiter().check([(rule, "all") for rule in rules], part)
    if not decision.allowed:
        return Booking(0, max(decision.retry_after_s, 1 / SECOND_US))
    ends_us = [answer.reading.reset_after_us for answer in decision.answers if answer.rule.on_limit != "log"]
    return Booking(part, decision.wait_s, max(ends_us, default=0) / SECOND_US)


def may_sweep(queue: str, orders: int) -> int:
    """How many of these orders a sweep may process now. Charged to the queue; 0 while messages have reserved slots ahead.

    A sweep gets at most a bucket of ``max_wait_ms`` at once. It runs again soon and needs no room for a whole batch.
    """
    cost = min([orders, *(most(rule.limit) for rule in rules_at(f"consume:{queue}"))])
    return limiter().check([(rule, "all") for rule in rules_of(queue)], cost, mode="now").granted if cost else 0


def has_room(queue: str) -> bool:
    """Whether a message of this queue would start at once. If so, work that stands still was lost and is not just waiting."""
    decision = limiter().check([(rule, "all") for rule in rules_of(queue)], mode="peek")
    return decision.allowed and not decision.wait_s
