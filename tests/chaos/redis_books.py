"""Reads what Redis holds: an item's gate, key by key, and the broker's messages."""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import redis
from django.conf import settings

from flashsale.core.redis_client import gate_client
from inventory.admission import keys
from tests.chaos.rows import Books, Gate, Message

_EXPIRING = ("token", "tokens", "spent", "receipt", "woken", "held_back", "staged")


def read(books: Books, items: Iterable[int]) -> None:
    """Fill in the gates of these items, the broker's messages, and the keys that nobody should find."""
    client = gate_client()
    books.gates = [_gate(client, item) for item in items]
    _read_keys(client, books)
    with redis.Redis.from_url(settings.CELERY_BROKER_URL, decode_responses=True) as broker:
        books.messages = _messages(broker)


def _gate(client: "redis.Redis", item: int) -> Gate:
    pipe = client.pipeline(transaction=True)
    pipe.hgetall(keys.meta(item))
    pipe.get(keys.stock(item))
    pipe.hgetall(keys.held(item))
    pipe.hgetall(keys.buyers(item))
    pipe.xrange(keys.admitted(item))
    pipe.xpending(keys.admitted(item), "ledger")
    pipe.hvals(keys.queued(item))
    meta, stock, held, buyers, streamed, pending, queued = pipe.execute(raise_on_error=False)
    return Gate(
        item=item,
        is_open="allocated" in meta and stock is not None,
        is_rebuilding="rebuilding" in meta,
        allocated=int(meta.get("allocated", 0)),
        stock=int(stock or 0),
        sold=int(meta.get("sold", 0)),
        held={order: _hold(value) for order, value in held.items()},
        buyers={int(customer): int(units) for customer, units in buyers.items()},
        streamed=[_streamed(entry, fields) for entry, fields in streamed],
        pending=int(pending["pending"]) if isinstance(pending, dict) else 0,
        queued=[json.loads(line)["id"] for lines in queued for line in lines.split("\n")],
    )


def _hold(value: str) -> tuple[int, int]:
    customer, units = value.split(":")
    return int(customer), int(units)


def _streamed(entry: str, fields: dict[str, str]) -> str:
    try:
        return str(json.loads(fields["o"])["id"])
    except (KeyError, TypeError, ValueError):
        return f"unreadable {entry}"


def _read_keys(client: "redis.Redis", books: Books) -> None:
    """Locks are left behind by nobody who finished; what is made to expire does, and so what was staged when a gate died."""
    found = sorted(client.scan_iter("fs:*", count=5_000))
    books.leftovers = [key for key in found if key.startswith("fs:lock:")]
    expiring = [key for key in found if any(part in _EXPIRING for part in key.split(":"))]
    pipe = client.pipeline(transaction=False)
    for key in expiring:
        pipe.ttl(key)
    books.immortals = [key for key, ttl in zip(expiring, pipe.execute(), strict=True) if ttl == -1]


def _messages(broker: "redis.Redis") -> list[Message]:
    waiting = [_message(queue, json.loads(raw)) for queue in settings.QUEUES for raw in broker.lrange(queue, 0, -1)]
    visible_after_s = settings.CELERY_BROKER_TRANSPORT_OPTIONS["visibility_timeout"]
    taken = dict(broker.zrange("unacked_index", 0, -1, withscores=True))
    held = [
        _message("unacked", json.loads(raw)[0], taken[tag] + visible_after_s if tag in taken else None)
        for tag, raw in broker.hgetall("unacked").items()
    ]
    return waiting + held


def _message(queue: str, body: dict[str, Any], returns_at: float | None = None) -> Message:
    headers = body.get("headers", {})
    eta = headers.get("eta")
    due_at = datetime.fromisoformat(eta).timestamp() if eta else None
    return Message(queue, headers.get("task", "unreadable"), due_at, returns_at)
