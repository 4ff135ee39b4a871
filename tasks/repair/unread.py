"""Orders and messages that only another release can read. Nothing final is decided about them here.

During a rolling deploy two releases run side by side. What this release cannot read stays in the stream, the intake or the
queue for the other one. After a minute a dead letter informs staff.
"""

import logging
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import connection

from flashsale.core.errors import FlashsaleError, Unavailable
from flashsale.core.metrics import PAYLOADS_UNREAD
from inventory.admission import gate
from inventory.admission.admitted import envelope
from inventory.admission.gate import Unread
from orders import holds
from tasks.repair import dead_letters

logger = logging.getLogger(__name__)
_TELL_AFTER_MS = 60_000
_MOST_LETTERS = 100  # limit per item and run
_TELL_AFTER_ATTEMPTS = 20  # attempts with an intake row, about a minute


class UnreadOrder(FlashsaleError):
    """This release cannot read the order. It is left for a release that can."""

    code = "unread_order"


class UnreadMessage(Unavailable):
    """This release cannot read the message. It is left for a release that can."""

    code = "unread_message"


def count(where: str, found: Sequence[object]) -> None:
    """Log and count payloads that were left for another release.

    Args:
        where: "stream", "message" or "intake".
    """
    if found:
        PAYLOADS_UNREAD.labels(where).inc(len(found))
        logger.warning(
            "payloads left for another release", extra={"event": "payloads_unread", "where": where, "count": len(found)}
        )


def look_after(item: int, entries: Sequence[Unread]) -> None:
    """Write dead letters for entries unread for a minute, once a minute. Remove entries that PostgreSQL has decided on."""
    old = [entry for entry in entries if entry.idle_ms >= _TELL_AFTER_MS][:_MOST_LETTERS]
    if not old:
        return
    count("stream", old)
    decided = holds.known_ids(entry.order.id for entry in old)
    gate.drop_decided(item, [entry for entry in old if entry.order.id in decided])
    waiting = [entry for entry in old if entry.order.id not in decided]
    for entry in waiting:
        _tell(item, entry.entry_id, entry.payload)
    gate.leave(item, [entry.entry_id for entry in waiting], unless_claimed_within_ms=_TELL_AFTER_MS)


def hand_back(item: int, entries: Sequence[tuple[str, Any]]) -> None:
    """Return entries of a message to the stream. Entries that the stream has lost go to a dead letter.

    Raises:
        GateUnavailable: keep the message.
    """
    count("message", entries)
    left = gate.leave(item, [entry_id for entry_id, _ in entries])
    missing = [(entry_id, payload) for entry_id, payload in entries if entry_id not in left]
    ids = {entry_id: named.id for entry_id, payload in missing if (named := envelope(payload, item))}
    decided = holds.known_ids(ids.values())
    for entry_id, payload in missing:
        if ids.get(entry_id) not in decided:
            _tell(item, entry_id, payload)


def _tell(item: int, entry_id: str, payload: Any) -> None:
    dead_letters.dead_letter("tasks.deduct_inventory", [item, [[entry_id, payload]]], UnreadOrder(), attempts=1)


def tell_of_intake(left: dict[UUID, int]) -> None:
    """Write dead letters for intake rows unread for a minute. ``left``: order id -> number of times it was left."""
    count("intake", list(left))
    for order_id, attempts in left.items():
        if attempts >= _TELL_AFTER_ATTEMPTS and not attempts % _TELL_AFTER_ATTEMPTS:
            dead_letters.dead_letter("tasks.create_orders", [[str(order_id)]], UnreadOrder(), attempts=_TELL_AFTER_ATTEMPTS)


def close_letters() -> None:
    """Close open deduction letters whose orders are all decided since. One statement for all letters."""
    with connection.cursor() as cursor:
        cursor.execute(_CLOSE)


_KNOWN_ID = "CASE WHEN named ~ '^[0-9a-f-]{36}$' THEN named::uuid END"
_CLOSE = f"""
    UPDATE tasks_deadletter SET resolved_at = now(), resolved_by = 'tasks.sweep'
    WHERE resolved_at IS NULL AND task = 'tasks.deduct_inventory' AND jsonb_path_exists(args, '$[1][*][1].id')
    AND NOT EXISTS (
        SELECT FROM (SELECT id #>> '{{}}' AS named FROM jsonb_path_query(args, '$[1][*][1].id') AS ids(id)) orders
        WHERE NOT EXISTS (SELECT FROM orders_order o WHERE o.id = {_KNOWN_ID})
        AND NOT EXISTS (SELECT FROM orders_intake i WHERE i.id = {_KNOWN_ID}))
"""  # noqa: S608 - a constant of ours
