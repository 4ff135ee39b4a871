"""Spoils the line of an order that waits in the gate's stream, as a bad release might: no client can send such an order."""

import json
import re
import time
from collections.abc import Iterator

import redis

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PATIENCE_S = 1.0
# How a line is spoiled, and so which step finds it.
CREATE, DEDUCT, DISPATCH = WAYS = ("a digest over its column", "no units", "no JSON")

# KEYS 1 stream. ARGV 1 an entry  2 the line that takes its place, at the end
# Returns 1 when it was still unclaimed.
_REPLACE = """
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  for at = 1, #group, 2 do
    if group[at] == 'last-delivered-id' and #redis.call('XRANGE', KEYS[1], '(' .. group[at + 1], ARGV[1]) == 0 then return 0 end
  end
end
if redis.call('XDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('XADD', KEYS[1], '*', 'o', ARGV[2])
return 1
"""


def order_in(line: str) -> str:
    """The id of the order that a line of the stream names, whether or not it can be read."""
    found = _ID.search(line)
    if found is None:
        raise ValueError(line)
    return found.group()


def spoil_one(url: str, way: str) -> str | None:
    """Spoil the line of an order that waits and that nobody has claimed; the order's id, None if none waited in time.

    Args:
        url: of the gate.
    """
    deadline = time.monotonic() + _PATIENCE_S
    with redis.Redis.from_url(url, decode_responses=True, socket_timeout=_PATIENCE_S) as client:
        replace = client.register_script(_REPLACE)
        try:
            streams = list(client.scan_iter("fs:*:admitted", count=1_000))
            while time.monotonic() < deadline:
                for stream, entry, line in _unclaimed(client, streams):
                    if replace(keys=[stream], args=[entry, _spoilt(line, way)]):
                        return order_in(line)
                time.sleep(0.002)
        except redis.RedisError:
            return None
    return None


def _unclaimed(client: "redis.Redis", streams: list[str]) -> Iterator[tuple[str, str, str]]:
    for stream in streams:
        for group in client.xinfo_groups(stream):
            for entry, fields in client.xrange(stream, min=f"({group['last-delivered-id']}", count=1):
                yield stream, str(entry), str(fields["o"])


def _spoilt(line: str, way: str) -> str:
    if way == DISPATCH:
        return f"{line}}}"
    changes = {"digest": "x" * 65} if way == CREATE else {"units": 0}
    return json.dumps(json.loads(line) | changes)
