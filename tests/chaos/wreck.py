"""What can be done to a server from its administrator's side, and what was on a gate's disk when the gate died."""

import shutil
from contextlib import closing
from pathlib import Path

import psycopg2
import redis

from flashsale.stack.servers import PostgreSQL, Server, Valkey
from tests.chaos.poison import order_in


def waiting_orders(server: Valkey, folder: Path) -> frozenset[str]:
    """The orders in the streams of a gate that is down: every one that was acknowledged and not yet deducted is among them.

    Args:
        folder: for the copy; it is gone afterwards.
    """
    shutil.copytree(server.folder / server.name, folder / server.name)
    copy = Valkey(folder, name=server.name, fsync="no")
    copy.start()
    try:
        with redis.Redis.from_url(copy.url, decode_responses=True) as client:
            streams = list(client.scan_iter("fs:*:admitted", count=1_000))
            return frozenset(order_in(fields["o"]) for stream in streams for _, fields in client.xrange(stream))
    finally:
        copy.kill()
        shutil.rmtree(folder)


_KEYS = ("stock", "held", "buyers")


def set_read_only(server: Server, *, on: bool) -> None:
    """Let PostgreSQL refuse every write of new transactions, or take them again. May run twice."""
    assert isinstance(server, PostgreSQL)
    with closing(psycopg2.connect(server.admin_url)) as link:
        link.autocommit = True
        with link.cursor() as cursor:
            cursor.execute(f"ALTER SYSTEM SET default_transaction_read_only = {'on' if on else 'off'}")
            cursor.execute("SELECT pg_reload_conf()")


def set_memory(server: Server, limit: int) -> None:
    """Give a Valkey so many bytes, 0 for no limit; over it, with nothing to evict, it takes no write. May run twice."""
    assert isinstance(server, Valkey)
    with redis.Redis.from_url(server.admin_url) as client:
        client.config_set("maxmemory", limit)


def lose_key(server: Server, pick: int) -> str | None:
    """Delete one key of one item's gate; its name, None where there is none.

    Args:
        pick: which, modulo how many there are.
    """
    assert isinstance(server, Valkey)
    with redis.Redis.from_url(server.admin_url, decode_responses=True) as client:
        keys = sorted(key for name in _KEYS for key in client.scan_iter(f"fs:{{*}}:{name}", count=1_000))
        if not keys:
            return None
        client.delete(keys[pick % len(keys)])
        return keys[pick % len(keys)]
