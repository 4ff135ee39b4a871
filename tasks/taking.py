"""What kombu's Redis transport does not offer: a message back to where it was, and a queue again without a delay.

On RabbitMQ nothing of it is needed.
"""

from contextlib import suppress
from pathlib import Path
from typing import Any

import redis
from kombu.transport.redis import Channel
from kombu.transport.virtual import QoS
from kombu.utils.json import dumps

from flashsale.core.lua import Script

_PUT_BACK = Script(Path(__file__).parent / "lua" / "put_back-3.lua")
_MOST_BEFORE = 32  # at least as many as there are workers of a queue; clocks that differ shall not turn a long queue around


def _is_redis(channel: Any) -> bool:
    return isinstance(channel, Channel)


def put_back(message: Any) -> None:
    """Give an unacknowledged message back to its place at the head of its queue, and say that it has been delivered before.

    ``message.requeue()`` would put it at the tail, behind all others. Several workers that do this at once keep the order of
    publication.
    """
    if not _is_redis(message.channel):  # RabbitMQ puts it near its old place by itself
        message.requeue()
        return
    channel, tag, raw = message.channel, message.delivery_tag, message._raw
    raw["headers"]["redelivered"] = raw["properties"]["delivery_info"]["redelivered"] = True
    queue = message.delivery_info["routing_key"]
    with channel.conn_or_acquire() as client:
        published = message.headers.get("published", 0)
        keys = [channel.unacked_key, channel.unacked_index_key, queue]
        _PUT_BACK(client, keys, [tag, dumps(raw), published, _MOST_BEFORE])
    QoS.ack(channel.qos, tag)
    message._state = "REQUEUED"


def note_client_id(channel: Any) -> None:
    """Remember by which number the server knows the connection that takes messages. Only while it waits for none."""
    if not _is_redis(channel):
        return
    connection = channel.client.connection
    if getattr(connection, "client_id_of", None) is not connection._sock:
        with suppress(redis.ResponseError):  # not allowed here, then nor is the rest
            connection.send_command("CLIENT", "ID")
            connection.client_id_there = connection.read_response()
            connection.client_id_of = connection._sock


def look_again(channel: Any) -> None:
    """Let a wait for messages end now, so that the next one is for the queues that are consumed now; else, and where the
    server does not allow it, it lasts up to a second.

    A message that has been popped meanwhile is delivered: the server ends only what still waits.
    """
    if not _is_redis(channel):
        return
    connection = channel.client.connection
    if channel._in_poll and getattr(connection, "client_id_of", None) is connection._sock:
        with suppress(redis.ResponseError), channel.conn_or_acquire() as client:
            client.client_unblock(connection.client_id_there)
