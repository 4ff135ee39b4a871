"""The pace of the queues: one global rate for each over all workers and machines, in orders.

The dispatcher asks for a whole batch's way at once and makes the batch as large as what it is granted; what it is not
granted stays in the stream. Behind it each queue has its own leaky bucket, for what did not come from the dispatcher.
"""

from dataclasses import dataclass

from flashsale.ratelimit.in_process import limiter, rules_at
from flashsale.ratelimit.limit import SECOND_US, Check
from flashsale.ratelimit.limiter import Decision, most

_CHAIN = ("inventory", "orders")
_BATCH_RULES = ("consume:dispatch", *(f"produce:{queue}" for queue in _CHAIN))


@dataclass(frozen=True, slots=True)
class Grant:
    """``orders`` that may leave now; none, and then after how many seconds to ask again."""

    orders: int
    retry_after_s: float
    decision: Decision


def grant_batch(most: int) -> Grant:
    """How many of up to ``most`` orders may start on their way now. One round trip, none without rules."""
    decision = limiter().check([(rule, "all") for rule in rules_at(*_BATCH_RULES)], most, mode="now")
    return Grant(decision.granted, decision.retry_after_s or decision.wait_s, decision)


def give_back(grant: Grant, orders: int) -> None:
    """Return what a batch did not need; best effort."""
    for answer in grant.decision.answers:
        check = Check(answer.rule.redis_key(answer.key), answer.rule.limit)
        limiter().give_back(check, grant.decision.now_us + answer.reading.reset_after_us, orders)


def book(queue: str, orders: int) -> tuple[float, bool]:
    """Book the departure of a message of this queue.

    Returns:
        seconds to wait, and whether that was booked; if not, ask again after them.
    """
    rules = rules_at(f"consume:{queue}")
    decision = limiter().check([(rule, "all") for rule in rules], min([orders, *(most(rule.limit) for rule in rules)]))
    if decision.allowed:
        return decision.wait_s, True
    return max(decision.retry_after_s, 1 / SECOND_US), False


def may_sweep(queue: str, orders: int) -> int:
    """How many of these orders a sweep may work on now: charged to the queue, and none while messages have booked ahead."""
    rules = rules_at(f"consume:{queue}")
    if not rules or not orders:
        return orders
    cost = min([orders, *(most(rule.limit) for rule in rules)])
    return limiter().check([(rule, "all") for rule in rules], cost, mode="now").granted


def has_room(queue: str) -> bool:
    """Whether a message of this queue would leave at once: what stands still then is lost, and does not wait for its turn."""
    rules = rules_at(f"consume:{queue}")
    decision = limiter().check([(rule, "all") for rule in rules], mode="peek")
    return decision.allowed and not decision.wait_s
