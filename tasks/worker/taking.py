"""Functions that kombu's Redis transport lacks: return a message to its old position, and resume a queue without delay.

They are not needed on RabbitMQ.
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
_MOST_BEFORE = 32  # at least the number of workers per queue; bounded, so that clock differences cannot reverse a long queue


def _is_redis(channel: Any) -> bool:
    return isinstance(channel, Channel)


def put_back(message: Any) -> None:
    """Return an unacknowledged message to its position at the head of its queue, marked as redelivered.

    ``message.requeue()`` would append it to the tail. Several workers that do this at once keep the order of publication.
    """
    if not _is_redis(message.channel):  # RabbitMQ restores the position itself
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
    """Store the client id of the connection that consumes messages. Call only while no blocking read is active."""
    if not _is_redis(channel):
        return
    connection = channel.client.connection
    if getattr(connection, "client_id_of", None) is not connection._sock:
        with suppress(redis.ResponseError):  # CLIENT commands are not permitted; then unblocking is not either
            connection.send_command("CLIENT", "ID")
            connection.client_id_there = connection.read_response()
            connection.client_id_of = connection._sock


def look_again(channel: Any) -> None:
    """End a blocking read now, so that the next one uses the current set of queues. Otherwise it lasts up to a second.

    A message that was already popped is delivered: the server ends only reads that still block.
    """
    if not _is_redis(channel):
        return
    connection = channel.client.connection
    if channel._in_poll and getattr(connection, "client_id_of", None) is connection._sock:
        with suppress(redis.ResponseError), channel.conn_or_acquire() as client:
            client.client_unblock(connection.client_id_there)
