"""Redis scripts as files: ``verb-N.lua``, where N is the number of keys the script declares, or ``n`` for any number."""

import re
from collections.abc import Sequence
from hashlib import sha1
from pathlib import Path
from typing import Any

import redis

from flashsale.core.own_connection import own_connection

_NAME = re.compile(r"^(?P<verb>[a-z_]+)-(?P<keys>\d+|n)\.lua$")


class Script:
    """One script file, run by its digest and loaded again whenever the server has forgotten it."""

    def __init__(self, path: Path, *, parts: Sequence[Path] = ()) -> None:
        """
        Args:
            parts: files of local functions that the script uses, put in front of it.

        Raises:
            ValueError: the file name is not ``verb-N.lua``.
        """
        match = _NAME.match(path.name)
        if match is None:
            raise ValueError(f"{path.name}: a script is named verb-N.lua, N being its number of keys")
        self.name = match["verb"]
        self.key_count = None if match["keys"] == "n" else int(match["keys"])
        self.source = "".join(part.read_text(encoding="utf-8") for part in (*parts, path))
        self.digest = sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, client: "redis.Redis", keys: Sequence[str], args: Sequence[Any] = ()) -> Any:
        """Run the script in one round trip (two after a server restart).

        Raises:
            ValueError: not as many keys as the file name says.
            redis.RedisError: whatever the server or the connection says.
        """
        if self.key_count is not None and len(keys) != self.key_count:
            raise ValueError(f"{self.name} takes {self.key_count} keys, got {len(keys)}")
        try:
            return client.evalsha(self.digest, len(keys), *keys, *args)
        except redis.exceptions.NoScriptError:
            return client.eval(self.source, len(keys), *keys, *args)

    def each(self, client: "redis.Redis", calls: Sequence[tuple[Sequence[Any], Sequence[Any]]]) -> list[Any]:
        """Run the script for each of these (keys, args) in one round trip, and one before it; the answers in their order.

        Raises:
            redis.RedisError: whatever the server or the connection says; some may have run.
        """
        if not calls:
            return []
        client.script_load(self.source)
        pipe = client.pipeline(transaction=False)
        for keys, args in calls:
            pipe.evalsha(self.digest, len(keys), *keys, *args)
        return list(pipe.execute())

    def once(self, client: "redis.Redis", keys: Sequence[str], args: Sequence[Any] = ()) -> Any:
        """Like calling it, a third cheaper: on a connection of the thread's own, without the client's retries and hooks.

        Raises:
            redis.RedisError: whatever the server or the connection says; the script may have run.
        """
        connection = own_connection(client)
        try:
            connection.send_command("EVALSHA", self.digest, len(keys), *keys, *args)
            return connection.read_response()
        except redis.exceptions.NoScriptError:
            connection.send_command("EVAL", self.source, len(keys), *keys, *args)
            return connection.read_response()
