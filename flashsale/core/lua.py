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
    """A script file. It is run by its SHA-1 digest, and loaded again if the server does not know it."""

    def __init__(self, path: Path, *, parts: Sequence[Path] = ()) -> None:
        """
        Args:
            parts: files with local functions that are prepended to the script.

        Raises:
            ValueError: the file name is not ``verb-N.lua``.
        """
        match = _NAME.match(path.name)
        if match is None:
            raise ValueError(f"{path.name}: the name must be verb-N.lua, where N is the number of keys")
        self.name = match["verb"]
        self.key_count = None if match["keys"] == "n" else int(match["keys"])
        self.source = "".join(part.read_text(encoding="utf-8") for part in (*parts, path))
        self.digest = sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, client: "redis.Redis", keys: Sequence[str], args: Sequence[Any] = ()) -> Any:
        """Run the script in one round trip (two after a server restart).

        Raises:
            ValueError: the number of keys differs from the file name.
            redis.RedisError: any error of the server or the connection.
        """
        if self.key_count is not None and len(keys) != self.key_count:
            raise ValueError(f"{self.name} takes {self.key_count} keys, got {len(keys)}")
        try:
            return client.evalsha(self.digest, len(keys), *keys, *args)
        except redis.exceptions.NoScriptError:
            return client.eval(self.source, len(keys), *keys, *args)

    def each(self, client: "redis.Redis", calls: Sequence[tuple[Sequence[Any], Sequence[Any]]]) -> list[Any]:
        """Run the script for each (keys, args) in one pipeline, after a round trip that loads it. Returns the answers in order.

        Raises:
            redis.RedisError: any error of the server or the connection; some calls may have run.
        """
        if not calls:
            return []
        client.script_load(self.source)
        pipe = client.pipeline(transaction=False)
        for keys, args in calls:
            pipe.evalsha(self.digest, len(keys), *keys, *args)
        return list(pipe.execute())

    def once(self, client: "redis.Redis", keys: Sequence[str], args: Sequence[Any] = ()) -> Any:
        """Like calling the script, with a third less overhead: uses a connection of the thread without retries and hooks.

        Raises:
            redis.RedisError: any error of the server or the connection; the script may have run.
        """
        connection = own_connection(client)
        try:
            connection.send_command("EVALSHA", self.digest, len(keys), *keys, *args)
            return connection.read_response()
        except redis.exceptions.NoScriptError:
            connection.send_command("EVAL", self.source, len(keys), *keys, *args)
            return connection.read_response()
