"""Step 1: claim waiting orders in batches and start a chain for each batch."""

import os
import socket
import time
from collections.abc import Mapping

from celery import shared_task
from django.conf import settings

from flashsale.ratelimit.limit import SECOND_US
from inventory.admission import gate
from tasks.repair import poison, unread
from tasks.steps import pipeline
from tasks.worker import pace
from tasks.worker.connections import can_reach_ledger
from tasks.worker.retry import Step

# Bounds one run: under constant load there is always another order, and the worker must be able to stop.
_LONGEST_TURN_S = 1.0
_LONGEST_ROUND = 100  # items
_LEDGER_AWAY_S = 1.0  # pause between checks for PostgreSQL
CONSUMER = f"{socket.gethostname()}:{os.getpid()}"


@shared_task(base=Step, name="tasks.dispatch")
def dispatch(item: int | None = None) -> None:
    """Claim waiting orders as far as the pace and the batches in flight allow, and start a chain for each batch.

    Orders over the pace stay in the stream, and one wake-up for all items is sent for the time when the pace allows more. It
    is shared between the held-back items and ``item``. A new order waits ``DISPATCH_LINGER_MS`` after its item's last batch
    for others to join, unless enough orders for a batch wait. While PostgreSQL is down nothing is claimed, so the orders are
    shown as queued. May run twice and concurrently.
    """
    if not can_reach_ledger():
        if item is not None:
            gate.hold_back({item: "refused"})  # so that the wake-up serves this item
        pipeline.wake_later(_LEDGER_AWAY_S)
        return
    turn_ends = time.monotonic() + _LONGEST_TURN_S
    while time.monotonic() < turn_ends:
        if not _go_round(item):
            return
    pipeline.wake(item)


def _go_round(item: int | None) -> bool:
    """Serve each waiting item once. Returns False if another round would find nothing to do."""
    rooms, held_back = _rooms(item)
    wanted = {each: room for each, room in rooms.items() if room > 0}
    if not wanted:
        _note(rooms, held_back, {})
        return False
    grant = pace.grant_batch(sum(wanted.values()))
    shares = share_out(grant.orders, wanted)
    short = {each: shares[each] for each in wanted if shares[each] < wanted[each]}
    taken = {each: _claim(each, share, full=short.get(each, settings.BATCH_SIZE)) for each, share in shares.items() if share}
    if sum(taken.values()) < grant.orders:
        pace.give_back(grant, grant.orders - sum(taken.values()))
    _note(rooms, held_back, short)
    if not grant.orders:
        pipeline.wake_later(grant.retry_after_s)
        return False
    # If a claim found fewer orders than allowed, later orders send their own wake-up.
    return bool(short) or any(taken[each] == shares[each] for each in taken)


def _rooms(item: int | None) -> tuple[dict[int, int], list[int]]:
    """Number of claimable orders by item, in the order in which items are served, and the held-back items."""
    first = [] if item is None else [item]
    waiting, held_back = gate.turns(first, most=_LONGEST_ROUND)
    others = [each for each in held_back if each != item]
    if others:
        waiting |= gate.on_their_way(others)
    turns = dict.fromkeys([*held_back, *first])  # held-back items first, so that frequent wake-ups cannot overtake them
    return {
        each: min(settings.BATCH_SIZE, waiting[each].unclaimed, _most_in_flight() - waiting[each].pending) for each in turns
    }, held_back


def _most_in_flight() -> int:
    """Limit of an item's orders between claim and commit. Redis enforces it for concurrent dispatchers."""
    return settings.BATCHES_IN_FLIGHT * settings.BATCH_SIZE


def share_out(orders: int, wanted: Mapping[int, int]) -> dict[int, int]:
    """Split the granted orders into equal shares; the first item gets at least 1. Unused shares go to the other items."""
    shares = dict.fromkeys(wanted, 0)
    hungry = list(wanted)
    while orders and hungry:
        equal = max(1, orders // len(hungry))
        for item in hungry:
            more = min(equal, wanted[item] - shares[item], orders)
            shares[item] += more
            orders -= more
        hungry = [item for item in hungry if shares[item] < wanted[item]]
    return shares


def _claim(item: int, limit: int, *, full: int) -> int:
    """Claim up to ``limit`` orders, start their chain and return their number. Fewer than ``full`` orders wait for more."""
    linger_us = settings.DISPATCH_LINGER_MS * 1000
    claim = gate.claim(item, consumer=CONSUMER, limit=limit, in_flight=_most_in_flight(), linger_us=linger_us, full=full)
    if claim.join_us:
        pipeline.wake_soon(item, claim.join_us / SECOND_US)
    poison.dead_letter_unreadable(item, claim.broken)
    unread.count("stream", claim.unread)
    if claim.entries:
        pipeline.start_chain(item, claim.entries)
    return len(claim.entries) + len(claim.broken) + len(claim.unread)


def _note(rooms: Mapping[int, int], held_back: list[int], short: Mapping[int, int]) -> None:
    """Record which items still wait for the pace. ``short``: share of each item that wanted more.

    Items with the larger shares go last, so that the remainder of a grant does not always go to the same item.
    """
    changes: dict[int, gate.Turn] = {}
    for item in sorted(rooms, key=lambda each: short.get(each, 0)):
        if item in short:
            changes[item] = "served" if short[item] else "refused"
        elif item in held_back:
            changes[item] = "done"
    if changes:
        gate.hold_back(changes)
