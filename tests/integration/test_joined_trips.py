"""Calls to Redis from an event loop: what comes together goes together, and what befalls one call befalls no other."""

import asyncio

import pytest
import redis

from flashsale.core.joined_trips import Threads, drive
from flashsale.core.lua import Script
from flashsale.core.redis_client import gate_client
from flashsale.core.steps import Trip

pytestmark = pytest.mark.usefixtures("clean_redis")
KEY = "fs:{joined}:list"
_NO_THREADS = Threads(None, None)


@pytest.fixture
def push(tmp_path):
    gate_client().delete(KEY)
    path = tmp_path / "push-1.lua"
    path.write_text("redis.call('RPUSH', KEYS[1], ARGV[1])\nreturn ARGV[1]\n")
    return Script(path)


@pytest.fixture
def refuse(tmp_path):
    path = tmp_path / "refuse-1.lua"
    path.write_text("return redis.error_reply('planted')\n")
    return Script(path)


def _trip(script, arg):
    return (yield Trip(script, gate_client, [KEY], [arg]))


def asked(*calls):
    """What calls that come at the same moment get, errors as values."""

    async def ask():
        return await asyncio.gather(*(drive(_trip(*call), _NO_THREADS) for call in calls), return_exceptions=True)

    return asyncio.run(ask())


def _commands(name):
    return gate_client().info("commandstats").get(f"cmdstat_{name}", {}).get("calls", 0)


def _reads():
    return int(gate_client().info("stats")["total_reads_processed"])


def test_each_caller_gets_its_own_answer_in_the_order_of_asking(push):
    asked_for = [str(number) for number in range(600)]  # more than one trip takes

    assert asked(*((push, each) for each in asked_for)) == asked_for
    assert gate_client().lrange(KEY, 0, -1) == asked_for


def test_a_server_without_the_scripts_runs_them_in_the_order_of_asking(push):
    gate_client().script_flush()
    asked_for = [str(number) for number in range(10)]

    assert asked(*((push, each) for each in asked_for)) == asked_for
    assert gate_client().lrange(KEY, 0, -1) == asked_for


@pytest.mark.parametrize("arg", ["\ud800", None])
def test_a_call_that_cannot_be_sent_fails_alone(push, arg):
    first, second, third = asked((push, "a"), (push, arg), (push, "b"))

    assert (first, third) == ("a", "b")
    assert isinstance(second, (UnicodeEncodeError, TypeError))
    assert gate_client().lrange(KEY, 0, -1) == ["a", "b"]


def test_an_error_of_one_script_reaches_its_caller_alone(push, refuse):
    first, second, third = asked((push, "a"), (refuse, "x"), (push, "b"))

    assert (first, third) == ("a", "b")
    assert isinstance(second, redis.ResponseError)


def test_an_answer_that_is_no_text_fails_alone(push):
    first, second, third = asked((push, "a"), (push, b"\xff"), (push, "b"))

    assert (first, third) == ("a", "b")
    assert isinstance(second, UnicodeDecodeError)


def test_a_hundred_calls_of_one_moment_make_one_trip(push):
    asked((push, "warm"))
    scripts, reads = _commands("evalsha"), _reads()

    asked(*((push, str(number)) for number in range(100)))

    assert _commands("evalsha") - scripts == 100
    assert _reads() - reads <= 10  # one for the scripts, the others for connecting and for what is counted here


def test_a_caller_that_goes_away_takes_nobody_with_it(push):
    async def ask():
        calls = [asyncio.ensure_future(drive(_trip(push, each), _NO_THREADS)) for each in "abc"]
        await asyncio.sleep(0)
        calls[1].cancel()
        return await asyncio.gather(*calls, return_exceptions=True)

    first, second, third = asyncio.run(ask())

    assert (first, third) == ("a", "c")
    assert isinstance(second, asyncio.CancelledError)


def test_a_connection_that_the_server_closed_is_opened_again(push):
    async def ask():
        first = await drive(_trip(push, "a"), _NO_THREADS)
        await asyncio.to_thread(gate_client().execute_command, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        return first, await drive(_trip(push, "b"), _NO_THREADS)

    assert asyncio.run(ask()) == ("a", "b")
