"""The pace of the queues: one global rate for each over all workers and machines, in orders.

The dispatcher asks for a whole batch's way at once and makes the batch as large as what it is granted; what it is not
granted stays in the stream. Behind it each queue has its own leaky bucket, for what did not come from the dispatcher.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

from django.conf import settings

from flashsale.ratelimit.in_process import limiter, rules_at
from flashsale.ratelimit.limit import SECOND_US, Check
from flashsale.ratelimit.limiter import Decision, most
from flashsale.ratelimit.rules import Rule

_CHAIN = ("inventory", "orders")
_BATCH_RULES = ("consume:dispatch", *(f"produce:{queue}" for queue in _CHAIN))


@dataclass(frozen=True, slots=True)
class Grant:
    """``orders`` that may leave now; none, and then after how many seconds to ask again."""

    orders: int
    retry_after_s: float
    decision: Decision


@dataclass(frozen=True, slots=True)
class Booking:
    """``orders`` that leave ``wait_s`` from now and are through after ``through_s``; none, and ``wait_s`` is when to ask."""

    orders: int
    wait_s: float
    through_s: float = 0.0


def grant_batch(most: int) -> Grant:
    """How many of up to ``most`` orders may start on their way now. One round trip, none without rules."""
    decision = limiter().check([(rule, "all") for rule in rules_at(*_BATCH_RULES)], most, mode="now")
    return Grant(decision.granted, decision.retry_after_s or decision.wait_s, decision)


def give_back(grant: Grant, orders: int) -> None:
    """Return what a batch did not need; best effort."""
    for answer in grant.decision.answers:
        check = Check(answer.rule.redis_key(answer.key), answer.rule.limit)
        limiter().give_back(check, grant.decision.now_us + answer.reading.reset_after_us, orders)


def rules_of(queue: str) -> list[Rule]:
    """The rules in force for a queue's consumers.

    Their buckets have room for a whole batch, whatever ``max_wait_ms`` says: in a smaller one the batches of several workers
    would be booked in pieces between each other, and leave in bunches.
    """
    return [_with_room(rule, settings.BATCH_SIZE) for rule in rules_at(f"consume:{queue}")]


@lru_cache(maxsize=64)
def _with_room(rule: Rule, orders: int) -> Rule:
    interval_us = rule.limit.window_us // rule.limit.limit
    return replace(rule, max_wait_ms=max(rule.max_wait_ms, -(-interval_us * orders // 1000)))


def book(queue: str, orders: int) -> Booking:
    """Book the departure of a message of this queue, or of a part of one that is larger than the bucket.

    A part is half the bucket: the next one is asked for before this one is through, so no time is lost between them.
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
    """How many of these orders a sweep may work on now: charged to the queue, and none while messages have booked ahead.

    At once it gets no more than a bucket of ``max_wait_ms`` holds: a sweep comes again, it needs no room for a whole batch.
    """
    cost = min([orders, *(most(rule.limit) for rule in rules_at(f"consume:{queue}"))])
    return limiter().check([(rule, "all") for rule in rules_of(queue)], cost, mode="now").granted if cost else 0


def has_room(queue: str) -> bool:
    """Whether a message of this queue would leave at once: what stands still then is lost, and does not wait for its turn."""
    decision = limiter().check([(rule, "all") for rule in rules_of(queue)], mode="peek")
    return decision.allowed and not decision.wait_s
