"""What kombu's Redis transport does not offer: a message back to where it was, and a queue again without a delay."""

from typing import Any

import redis
from kombu.transport.virtual import QoS


def put_back(message: Any) -> None:
    """Give an unacknowledged message back to the head of its queue, where it was taken from.

    ``message.requeue()`` would put it at the tail, behind all others.
    """
    qos = message.channel.qos
    qos.restore_by_tag(message.delivery_tag)
    QoS.ack(qos, message.delivery_tag)
    message._state = "REQUEUED"


def note_client_id(channel: Any) -> None:
    """Remember by which name the server knows the connection that takes messages. Only while it waits for none."""
    connection = channel.client.connection
    if getattr(connection, "client_id_of", None) is not connection._sock:
        connection.send_command("CLIENT", "ID")
        connection.client_id_of, connection.client_id_there = connection._sock, connection.read_response()


def look_again(channel: Any) -> None:
    """Let a wait for messages end now, so that the next one is for the queues that are consumed now; else it lasts a second.

    A message that has been popped meanwhile is delivered: the server ends only what still waits.
    """
    connection = channel.client.connection
    if channel._in_poll and getattr(connection, "client_id_of", None) is connection._sock:
        try:
            with channel.conn_or_acquire() as client:
                client.client_unblock(connection.client_id_there)
        except redis.ResponseError:
            pass  # the server does not allow it: a second, then
