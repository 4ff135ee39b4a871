"""What was on a gate's disk when the gate died: a copy of the disk, read by a server of its own."""

import shutil
from pathlib import Path

import redis

from flashsale.stack.servers import Valkey
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
