"""Step 1: turns waiting orders into batches, each with a chain."""

import os
import socket
import time
from collections.abc import Mapping

from celery import shared_task
from django.conf import settings

from flashsale.ratelimit.limit import SECOND_US
from inventory.admission import gate
from tasks import pace, pipeline, poison, unread
from tasks.connections import can_reach_ledger
from tasks.retry import Step

# Under a steady stream there is always one more order: a turn has an end, or a worker that is asked to stop would not stop.
_LONGEST_TURN_S = 1.0
_LONGEST_ROUND = 100  # items
_LEDGER_AWAY_S = 1.0  # between two looks for it
CONSUMER = f"{socket.gethostname()}:{os.getpid()}"


@shared_task(base=Step, name="tasks.dispatch")
def dispatch(item: int | None = None) -> None:
    """Claim what waits, as much as the pace and the batches in flight allow, and start a chain for each batch.

    What the pace does not allow stays in the stream, and one wake-up for all items is sent for when it will. What the pace
    allows is shared between the items that it has held back and this one. An order that comes within ``DISPATCH_LINGER_MS`` of
    a batch of its item waits for others to join it, unless they are a whole batch. With PostgreSQL away nothing is claimed: an
    order in the stream is surely queued, and its customer can be told so. May run twice and at once.
    """
    if not can_reach_ledger():
        if item is not None:
            gate.hold_back({item: "refused"})  # or the wake-up would not know whom to serve
        pipeline.wake_later(_LEDGER_AWAY_S)
        return
    turn_ends = time.monotonic() + _LONGEST_TURN_S
    while time.monotonic() < turn_ends:
        if not _go_round(item):
            return
    pipeline.wake(item)


def _go_round(item: int | None) -> bool:
    """Serve each item that waits once; False when the next round would find nothing to do."""
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
    # What comes after a claim that found less than it might take wakes the dispatcher by itself.
    return bool(short) or any(taken[each] == shares[each] for each in taken)


def _rooms(item: int | None) -> tuple[dict[int, int], list[int]]:
    """How many orders of each item could be claimed now, in the order of their turns, and the items that were held back."""
    first = [] if item is None else [item]
    waiting, held_back = gate.turns(first, most=_LONGEST_ROUND)
    others = [each for each in held_back if each != item]
    if others:
        waiting |= gate.on_their_way(others)
    turns = dict.fromkeys([*held_back, *first])  # who was not held back comes last, or a stream of wake-ups would jump the line
    return {each: min(settings.BATCH_SIZE, waiting[each][0], _most_in_flight() - waiting[each][1]) for each in turns}, held_back


def _most_in_flight() -> int:
    """Orders of one item between claim and commit; the gate keeps to it, whoever claims at once."""
    return settings.BATCHES_IN_FLIGHT * settings.BATCH_SIZE


def share_out(orders: int, wanted: Mapping[int, int]) -> dict[int, int]:
    """Equal shares of what was granted, at least 1 for the first; what one item does not need goes to the others."""
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
    """Claim up to so many orders and start their chain; how many were taken. Fewer than ``full`` wait for others."""
    linger_us = settings.DISPATCH_LINGER_MS * 1000
    claim = gate.claim(item, consumer=CONSUMER, limit=limit, in_flight=_most_in_flight(), linger_us=linger_us, full=full)
    if claim.join_us:
        pipeline.wake_soon(item, claim.join_us / SECOND_US)
    poison.bury_unreadable(item, claim.broken)
    unread.count("stream", claim.unread)
    if claim.entries:
        pipeline.start_chain(item, claim.entries)
    return len(claim.entries) + len(claim.broken) + len(claim.unread)


def _note(rooms: Mapping[int, int], held_back: list[int], short: Mapping[int, int]) -> None:
    """Write down who goes on waiting for the pace: ``short`` has the shares of those who wanted more.

    Who got more than the others comes after them: the odd order of a grant would go to the same item each time.
    """
    changes: dict[int, gate.Turn] = {}
    for item in sorted(rooms, key=lambda each: short.get(each, 0)):
        if item in short:
            changes[item] = "served" if short[item] else "refused"
        elif item in held_back:
            changes[item] = "done"
    if changes:
        gate.hold_back(changes)
