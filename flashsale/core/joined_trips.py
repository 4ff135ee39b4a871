"""Execute steps in an event loop. Concurrent requests share one round trip, and so one fsync of the server.

A link is this loop's only connection to a server. Scripts that arrive during a round trip are sent with the next one.
"""

import asyncio
import weakref
from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from typing import Any, NamedTuple, TypeVar

import hiredis
import redis
from redis.asyncio import connection as sockets
from redis.connection import ConnectionPool

from flashsale.core.lua import Script
from flashsale.core.steps import Blocking, Pause, Step, Steps, Trip

_MOST = 256  # scripts per round trip: more would delay the server's other clients
_KINDS: dict[type, type[sockets.AbstractConnection]] = {
    redis.Connection: sockets.Connection,
    redis.SSLConnection: sockets.SSLConnection,
    redis.UnixDomainSocketConnection: sockets.UnixDomainSocketConnection,
}
_SHARED_OPTIONS = {"host", "port", "path", "db", "username", "password", "decode_responses", "client_name"}
T = TypeVar("T")


class _Call:
    """A script to run, and the future of its reply."""

    __slots__ = ("_rest", "_script", "is_repeated", "packed", "reply")

    def __init__(self, script: Script, keys: Sequence[str], args: Sequence[Any], reply: "asyncio.Future[Any]") -> None:
        self._script, self._rest, self.reply = script, (len(keys), *keys, *args), reply
        self.packed: bytes = hiredis.pack_command(("EVALSHA", script.digest, *self._rest))
        self.is_repeated = False

    def take_source(self) -> None:
        """Send the script's text, because the server does not know it."""
        self.packed = hiredis.pack_command(("EVAL", self._script.source, *self._rest))

    def end(self, result: Any) -> None:
        if self.reply.done():  # the caller was cancelled
            return
        if isinstance(result, Exception):
            self.reply.set_exception(result)
        else:
            self.reply.set_result(result)


class Link:
    """The event loop's connection to a client's server. Not thread-safe."""

    def __init__(self, pool: ConnectionPool) -> None:
        options = pool.connection_kwargs
        shared = {name: value for name, value in options.items() if name in _SHARED_OPTIONS or name.startswith("ssl_")}
        self.loop = asyncio.get_running_loop()
        self._connect_s = float(options.get("socket_connect_timeout") or 1.0)
        self._timeout_s = float(options.get("socket_timeout") or 1.0)
        self._connection = _KINDS[pool.connection_class](**shared, socket_connect_timeout=self._connect_s)
        self._waiting: list[_Call] = []
        self._worker: asyncio.Task[None] | None = None

    async def call(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script and return its reply. If the connection turns out to be closed, it is sent again, so it may run twice.

        Raises:
            redis.RedisError: the server answered with an error, did not reply within the client's timeout, or is unreachable.
            TypeError, ValueError: the arguments cannot be encoded, or the reply is not text.
        """
        call = _Call(script, keys, args, self.loop.create_future())
        self._waiting.append(call)
        if self._worker is None:
            self._worker = self.loop.create_task(self._work())
        return await call.reply

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
                await self._trip(batch)
        finally:
            self._worker = None

    async def _trip(self, batch: list[_Call]) -> None:
        answered: list[_Call] = []
        timeout_s = self._timeout_s if self._connection.is_connected else self._timeout_s + self._connect_s
        try:
            async with asyncio.timeout(timeout_s):
                await self._ask(batch, answered)
        except (TimeoutError, redis.TimeoutError):
            await self._hang_up()
            # The others have waited as long and would time out as well.
            self._fail([*batch, *self._waiting], redis.TimeoutError("no reply from Redis in time"))
            self._waiting = []
        except (redis.RedisError, OSError) as error:
            await self._hang_up()
            left = [call for call in batch if call not in answered]
            self._fail([call for call in left if call.is_repeated], error)
            again = [call for call in left if not call.is_repeated]
            for call in again:
                call.is_repeated = True
            self._waiting = again + self._waiting
        except BaseException as error:
            await self._hang_up()
            self._fail([*batch, *self._waiting], redis.ConnectionError(repr(error)))
            self._waiting = []
            raise

    async def _ask(self, batch: list[_Call], answered: list[_Call]) -> None:
        if not self._connection.is_connected:
            await self._connection.connect()  # type: ignore[no-untyped-call]
        await self._connection.send_packed_command(b"".join([call.packed for call in batch]), check_health=False)
        is_primary = True
        unknown: list[_Call] = []
        for call in batch:
            try:
                call.end(await self._connection.read_response(disconnect_on_error=False))
            except redis.exceptions.NoScriptError:
                call.take_source()
                unknown.append(call)
                continue
            except (redis.exceptions.ResponseError, UnicodeDecodeError) as error:
                is_primary = is_primary and not isinstance(error, redis.ReadOnlyError)
                call.end(error)
            answered.append(call)
        self._waiting = unknown + self._waiting
        if not is_primary:  # the name may resolve to another server now
            await self._hang_up()

    @staticmethod
    def _fail(calls: Sequence[_Call], error: Exception) -> None:
        known = error if isinstance(error, redis.RedisError) else redis.ConnectionError(repr(error))
        for call in calls:
            call.end(copy(known))  # raising an exception modifies it, so each caller gets a copy

    async def _hang_up(self) -> None:
        await self._connection.disconnect(nowait=True)


_links: "weakref.WeakKeyDictionary[ConnectionPool, Link]" = weakref.WeakKeyDictionary()


def _link(client: "Callable[[], redis.Redis]") -> Link:
    pool = client().connection_pool
    found = _links.get(pool)
    if found is None or found.loop is not asyncio.get_running_loop():
        found = _links[pool] = Link(pool)
    return found


class Threads(NamedTuple):
    """Executors of calls outside the loop. ``blocking``: the steps wait for the call. ``aside``: they do not."""

    blocking: Callable[[Callable[[], Any]], Awaitable[Any]]
    aside: Callable[[Callable[[], Any]], object]


async def drive(steps: Steps[T], threads: Threads) -> T:
    """Execute the steps in the running event loop.

    Raises:
        Exception: any error that the generator raises.
    """
    resume: Callable[[Any], Step] = steps.send
    value: Any = None
    while True:
        try:
            step = resume(value)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        try:
            value, resume = await _carried_out(step, threads), steps.send
        except Exception as error:
            value, resume = error, steps.throw


async def _carried_out(step: Step, threads: Threads) -> Any:
    if isinstance(step, Trip):
        return await _link(step.client).call(step.script, step.keys, step.args)
    if isinstance(step, Pause):
        return await asyncio.sleep(step.seconds)
    if isinstance(step, Blocking):
        return await threads.blocking(step.work)
    threads.aside(step.work)
    return None
