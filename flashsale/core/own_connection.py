"""A Redis connection per thread. Borrowing one from the pool costs a tenth of a rate-limit decision."""

import os
import threading
from typing import Any
from weakref import WeakKeyDictionary

import redis
from redis.connection import ConnectionPool


class _Held(threading.local):
    def __init__(self) -> None:
        self.connections: WeakKeyDictionary[ConnectionPool, tuple[int, Any]] = WeakKeyDictionary()


_held = _Held()


def own_connection(client: "redis.Redis") -> Any:
    """The calling thread's connection to the server of ``client``. Closed together with the thread or the client.

    A connection that the server has closed, or that has an unread answer, is reopened at its next use.
    """
    pool = client.connection_pool
    pid, connection = _held.connections.get(pool, (0, None))
    if connection is None or pid != os.getpid():  # a forked child must not use its parent's connection
        connection = pool.connection_class(**pool.connection_kwargs)
        _held.connections[pool] = os.getpid(), connection
        return connection
    try:
        if connection.is_connected and connection.can_read():
            connection.disconnect()
    except redis.exceptions.ConnectionError:
        connection.disconnect()
    return connection


def hang_up(client: "redis.Redis") -> None:
    """Close the calling thread's connection and all idle ones, because the host name may resolve to another server now."""
    _, connection = _held.connections.get(client.connection_pool, (0, None))
    if connection is not None:
        connection.disconnect()
    client.connection_pool.disconnect(inuse_connections=False)
