"""A TCP proxy that can be a bad network: late, thin, cut, deaf, half open, reset."""

import asyncio
import contextlib
import random
import socket
import struct
from dataclasses import dataclass, field
from typing import Literal

Way = Literal["up", "down"]  # to the server, to the client
_CHUNK = 64 * 1024
_RESET = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Weather:
    """What happens to bytes on their way."""

    latency_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_s: float = 0.0  # 0: unlimited
    held: frozenset[Way] = frozenset()


@dataclass(eq=False, slots=True)
class _Pair:
    """One connection: towards the client, and towards the server once there is one."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter | None = None
    _is_zombie: bool = False
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    def is_zombie(self) -> bool:
        """Its server end is gone and its client has not been told."""
        return self._is_zombie

    def lose_server(self) -> None:
        """From here on a zombie."""
        self._is_zombie = True
        if self.far is not None:
            _reset(self.far)

    def reset(self) -> None:
        """Both ends get a RST."""
        for writer in (self.near, self.far):
            if writer is not None:
                _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError, AttributeError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


class Proxy:
    """One address in front of another. All methods belong to the event loop's thread."""

    def __init__(self, name: str, host: str, port: int) -> None:
        self.name = name
        self.port = 0
        self._target = host, port
        self._weather = Weather()
        self._calm = asyncio.Event()
        self._calm.set()
        self._pairs: set[_Pair] = set()
        self._resets_new = False
        self._swallows_new = False
        self._loses_replies = False
        self._chance = random.Random(name)

    async def start(self) -> int:
        """Listen; returns the port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self.port

    async def stop(self) -> None:
        """Reset what is open and stop listening."""
        self._server.close()
        for pair in list(self._pairs):
            pair.reset()
        tasks = [task for pair in self._pairs for task in pair.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def connections(self) -> int:
        """How many are open towards clients."""
        return len(self._pairs)

    def slow(self, latency_s: float, jitter_s: float = 0.0) -> None:
        """Every chunk is late by ``latency_s``, give or take ``jitter_s``."""
        self._weather = Weather(latency_s=latency_s, jitter_s=jitter_s)

    def thin(self, bytes_per_s: float) -> None:
        """Each connection gets this much and no more."""
        self._weather = Weather(bytes_per_s=bytes_per_s)

    def cut(self, *ways: Way) -> None:
        """Bytes are held until the heal, both ways unless told which."""
        self._weather = Weather(held=frozenset(ways or ("up", "down")))
        self._calm.clear()

    def lose_replies(self) -> None:
        """Requests arrive; what is answered is lost for good, and the heal resets those connections."""
        self._loses_replies = True
        self.cut("down")

    def half_open(self) -> None:
        """The server's ends are gone; clients hear nothing, of old connections and new ones, until the heal resets them.

        That reset is what a host that is back answers to the next packet of a connection it does not know.
        """
        self._swallows_new = True
        for pair in self._pairs:
            pair.lose_server()

    def reset(self) -> None:
        """Every connection is reset, and each new one until the heal."""
        self._resets_new = True
        for pair in list(self._pairs):
            pair.reset()

    def heal(self) -> None:
        """Fair weather again."""
        for pair in list(self._pairs):
            if pair.is_zombie() or self._loses_replies:
                pair.reset()
        self._resets_new = self._swallows_new = self._loses_replies = False
        self._weather = Weather()
        self._calm.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._resets_new:
            _reset(writer)
            return
        pair = _Pair(writer)
        if self._swallows_new:
            pair.lose_server()
        self._pairs.add(pair)
        pair.tasks.append(asyncio.ensure_future(self._carry(pair, reader)))
        try:
            await asyncio.gather(*pair.tasks, return_exceptions=True)
        finally:
            pair.reset()
            self._pairs.discard(pair)

    async def _carry(self, pair: _Pair, near: asyncio.StreamReader) -> None:
        if pair.is_zombie():
            await self._swallow(near)
            return
        await self._pass("up")
        try:
            far, pair.far = await asyncio.open_connection(*self._target)
        except OSError:
            return
        ways = [
            asyncio.ensure_future(self._pump(pair, near, pair.far, "up")),
            asyncio.ensure_future(self._pump(pair, far, pair.near, "down")),
        ]
        pair.tasks += ways
        try:
            await asyncio.wait(ways, return_when=asyncio.ALL_COMPLETED)
            if pair.is_zombie():
                await self._swallow(near)
        finally:
            for way in ways:
                way.cancel()

    @staticmethod
    async def _swallow(near: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while await near.read(_CHUNK):
                pass

    async def _pump(self, pair: _Pair, source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: Way) -> None:
        try:
            while data := await source.read(_CHUNK):
                await self._pass(way, len(data))
                if pair.is_zombie():
                    return
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        if not pair.is_zombie():
            await self._pass(way)
            with contextlib.suppress(OSError):
                sink.close()

    async def _pass(self, way: Way, size: int = 0) -> None:
        weather = self._weather
        if weather.latency_s:
            await asyncio.sleep(max(0.0, weather.latency_s + self._chance.uniform(-1, 1) * weather.jitter_s))
        if weather.bytes_per_s:
            await asyncio.sleep(size / weather.bytes_per_s)
        while way in self._weather.held:
            await self._calm.wait()
