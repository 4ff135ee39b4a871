"""What a mirror process does for itself: gates of its own, and a ledger side that forgets.

It only reads the ledger, and writes to the Redis that its environment names as the gate, which is nobody else's.
"""

import logging
import threading
import time
from collections.abc import Sequence

from django.conf import settings
from django.db import Error, close_old_connections
from kombu.exceptions import OperationalError

from flashsale.celery import app
from flashsale.core.errors import FlashsaleError
from flashsale.core.lock import FencedLocks
from flashsale.core.redis_client import gate_client
from inventory import selectors
from inventory.admission import gate, rebuild

logger = logging.getLogger(__name__)
_EVERY_S = 0.5
_LOCK_TTL_MS = 30_000
_BATCH = 1_000
_CONSUMER = "mirror"


def is_mirror() -> bool:
    """Whether this process answers copies of requests."""
    return bool(settings.FLEET == "mirror")


def keep() -> None:
    """Look after the mirror's gates for as long as the process lives."""

    def look() -> None:
        while True:
            try:
                turn()
            except (FlashsaleError, Error, OperationalError, OSError) as error:
                logger.warning("gates of the mirror not kept", extra={"event": "mirror_not_kept", "error": repr(error)})
            finally:
                close_old_connections()
            time.sleep(_EVERY_S)

    threading.Thread(target=look, daemon=True, name="mirror").start()


def turn() -> None:
    """Make the gates that are missing or have old terms, and end what was admitted as if it were paid. May run twice."""
    items = selectors.watched_items()
    present, current = gate.versions(items), selectors.gate_versions(items)
    _open([item for item in items if present[item] != current.get(item)])
    for item in items:
        _end_admitted(item)
    app.control.purge()  # the wake-ups: in this process's memory, and nobody's


def _open(items: Sequence[int]) -> None:
    """With what the ledger has available now, nothing held and nobody who bought."""
    with FencedLocks(gate_client(), [f"rebuild:{item}" for item in items], ttl_ms=_LOCK_TTL_MS) as locks:
        fences = {item: locks.fences[f"rebuild:{item}"] for item in items if f"rebuild:{item}" in locks.fences}
        begun, stock = rebuild.begin(fences), selectors.stock_of(items)
        rebuild.open_gates(
            [
                rebuild.NewGate(terms, fences[terms.item], stock[terms.item].available, stock[terms.item].sold)
                for terms in selectors.terms(begun)
            ]
        )


def _end_admitted(item: int) -> None:
    while entries := gate.claim(item, consumer=_CONSUMER, limit=_BATCH, in_flight=1).entries:
        gate.settle(item, [order.id for _, order in entries])
        gate.ack(item, entries)
