"""Joined trips to a server that is frozen, restarts, loads, is full, or is no longer the primary."""

import asyncio
from contextlib import asynccontextmanager

import hiredis
import pytest
import redis

from flashsale.core.joined_trips import Threads, drive
from flashsale.core.lua import Script
from flashsale.core.steps import Trip

_NO_THREADS = Threads(None, None)
GOOD, SILENT, CLOSED, HALF = b"+fine\r\n", b"", None, b"$4\r\nfi"


class Server:
    """Speaks Redis's protocol. Answers the scripts by ``plan``, and with GOOD when that is at its end."""

    def __init__(self):
        self.plan, self.connections, self.scripts = [], 0, 0

    @asynccontextmanager
    async def running(self):
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with redis.Redis.from_url(f"redis://127.0.0.1:{port}/0?protocol=2", socket_timeout=0.3) as client:
            self._client = client
            yield
        server.close()

    async def _serve(self, reader, writer):
        self.connections += 1
        requests = hiredis.Reader()
        while part := await reader.read(65536):
            requests.feed(part)
            while request := requests.gets():
                answer = self._answer(request)
                if answer is CLOSED or answer == HALF:
                    writer.write(answer or b"")
                    writer.close()
                    return
                writer.write(answer)
        writer.close()

    def _answer(self, request):
        if request is False or not request[0].startswith(b"EVAL"):
            return b"+OK\r\n"
        self.scripts += 1
        return self.plan.pop(0) if self.plan else GOOD

    async def ask(self, script, count=1):
        """What so many calls of one moment get, errors as values."""
        client = self._client

        def trip():
            return (yield Trip(script, lambda: client, [], []))

        return await asyncio.gather(*(drive(trip(), _NO_THREADS) for _ in range(count)), return_exceptions=True)


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "nothing-0.lua"
    path.write_text("return 1\n")
    return Script(path)


def played(scene):
    """Play it with a server."""

    async def play():
        server = Server()
        async with server.running():
            return await scene(server)

    return asyncio.run(play())


def test_all_who_wait_for_a_frozen_server_fail_after_one_timeout(script):
    async def scene(server):
        await server.ask(script)
        server.plan = [SILENT] * 300
        found = await server.ask(script, 300)
        sent, server.plan = server.scripts, []
        return found, sent, await server.ask(script, 2), server.connections

    found, sent, afterwards, connections = played(scene)

    assert {type(each) for each in found} == {redis.TimeoutError}
    assert len(set(map(id, found))) == 300  # each caller's own: who raises an error writes into it
    assert sent == 1 + 256  # what did not fit into the trip was not sent, and waited for, after it
    assert (afterwards, connections) == ([b"fine"] * 2, 2)


@pytest.mark.parametrize("end", [CLOSED, HALF])
def test_a_server_that_restarts_is_asked_once_more_for_what_it_has_not_answered(script, end):
    async def scene(server):
        await server.ask(script)
        server.plan = [GOOD, end]
        return await server.ask(script, 3), server.scripts, server.connections

    # One before, one that was answered, one whose answer broke off, and the two that were left, again.
    assert played(scene) == ([b"fine"] * 3, 5, 2)


def test_a_server_that_dies_at_each_script_is_asked_twice(script):
    async def scene(server):
        server.plan = [CLOSED] * 2
        return await server.ask(script, 3), server.scripts, await server.ask(script)

    found, scripts, afterwards = played(scene)

    assert all(isinstance(each, redis.ConnectionError) for each in found)
    assert (scripts, afterwards) == (2, [b"fine"])


def test_a_primary_of_before_is_left(script):
    async def scene(server):
        server.plan = [b"-READONLY You can't write against a read only replica.\r\n", GOOD]
        return *(await server.ask(script, 2)), await server.ask(script), server.connections

    first, second, afterwards, connections = played(scene)

    assert isinstance(first, redis.ReadOnlyError)
    assert (second, afterwards, connections) == (b"fine", [b"fine"], 2)


def test_a_full_server_refuses_only_what_writes(script):
    async def scene(server):
        server.plan = [GOOD, b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", GOOD]
        return *(await server.ask(script, 3)), server.connections

    first, second, third, connections = played(scene)

    assert isinstance(second, redis.exceptions.OutOfMemoryError)
    assert (first, third, connections) == (b"fine", b"fine", 1)


def test_a_server_that_loads_is_away(script):
    async def scene(server):
        server.plan = [b"-LOADING Redis is loading the dataset in memory\r\n"] * 4
        return await server.ask(script, 2), await server.ask(script)

    found, afterwards = played(scene)

    assert {type(each) for each in found} == {redis.BusyLoadingError}
    assert afterwards == [b"fine"]


def test_a_garbled_answer_ends_the_connection(script):
    async def scene(server):
        server.plan = [b"?what\r\n"]
        return await server.ask(script, 2), server.connections

    assert played(scene) == ([b"fine"] * 2, 2)
