"""Step 1: turns waiting orders into batches, each with a chain."""

import os
import socket
import time

from celery import shared_task
from django.conf import settings

from inventory.admission import gate
from tasks import pace, poison
from tasks.retry import Step

# Under a steady stream there is always one more order: a turn has an end, or a worker that is asked to stop would not stop.
_LONGEST_TURN_S = 1.0
CONSUMER = f"{socket.gethostname()}:{os.getpid()}"


@shared_task(base=Step, name="tasks.dispatch")
def dispatch(item: int) -> None:
    """Claim what waits, as much as the pace and the batches in flight allow, and start a chain for each batch.

    What the pace does not allow stays in the stream, and one wake-up is sent for when it will. May run twice and at once.
    """
    from tasks import pipeline

    turn_ends = time.monotonic() + _LONGEST_TURN_S
    while time.monotonic() < turn_ends:
        grant = pace.grant_batch(min(settings.BATCH_SIZE, max(1, gate.unclaimed(item))))
        if not grant.orders:
            pipeline.wake_later(item, grant.retry_after_s)
            return
        claim = gate.claim(
            item,
            consumer=CONSUMER,
            limit=grant.orders,
            in_flight=settings.BATCHES_IN_FLIGHT * settings.BATCH_SIZE,
        )
        if len(claim.entries) < grant.orders:
            pace.give_back(grant, grant.orders - len(claim.entries))
        poison.bury_unreadable(item, claim.broken)
        if claim.entries:
            pipeline.start_chain(item, claim.entries)
        if len(claim.entries) + len(claim.broken) < grant.orders:
            return  # what comes after the claim wakes the dispatcher by itself
    pipeline.wake(item)
