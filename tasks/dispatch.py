"""Step 1: turns waiting orders into batches, each with a chain."""

import os
import socket

from celery import shared_task
from django.conf import settings

from inventory.admission import gate
from tasks.retry import Step

CONSUMER = f"{socket.gethostname()}:{os.getpid()}"


@shared_task(base=Step, name="tasks.dispatch")
def dispatch(item: int) -> None:
    """Claim all that wait, up to the batches that may be in flight, and start a chain for each. May run twice and at once."""
    from tasks import dead_letters, pipeline

    while True:
        claim = gate.claim(
            item,
            consumer=CONSUMER,
            limit=settings.BATCH_SIZE,
            in_flight=settings.BATCHES_IN_FLIGHT * settings.BATCH_SIZE,
        )
        for entry_id, raw in claim.broken:
            dead_letters.bury("tasks.dispatch", [item, raw], ValueError("unreadable stream entry"), attempts=1)
            gate.drop(item, [entry_id])
        if not claim.entries:
            return
        pipeline.start_chain(item, claim.entries)
