"""A thread's own connection: never an answer of somebody else's question, never a dead one that could be known to be dead."""

import os
import threading

import redis
from django.conf import settings

from flashsale.core.lua import Script
from flashsale.core.own_connection import own_connection
from flashsale.ratelimit.stores.redis_store import LUA

GIVE_BACK = Script(LUA / "give_back-1.lua")


def client():
    return redis.Redis.from_url(settings.RATELIMIT_REDIS_URL, decode_responses=True)


def ask(server):
    return GIVE_BACK.once(server, ["fs:{limits}:own"], [1, 1])


def test_a_thread_keeps_its_connection_and_another_has_another():
    server, seen = client(), []

    mine = own_connection(server)
    thread = threading.Thread(target=lambda: seen.append(own_connection(server)))
    thread.start()
    thread.join()

    assert own_connection(server) is mine
    assert seen[0] is not mine


def test_a_connection_that_the_server_closed_is_opened_anew_without_an_error():
    server = client()
    ask(server)
    number = own_connection(server)
    number.send_command("CLIENT", "ID")
    assert server.client_kill_filter(_id=number.read_response()) == 1

    assert ask(server) == 0


def test_an_answer_that_nobody_took_is_not_the_next_ones_answer():
    server = client()
    ask(server)
    connection = own_connection(server)
    connection.send_command("ECHO", "left behind")
    while not connection.can_read(timeout=1):
        pass

    assert ask(server) == 0


def test_a_forked_child_does_not_speak_on_its_parents_connection():
    server = client()
    ask(server)
    mine = own_connection(server)
    pid = os.fork()
    if not pid:
        os._exit(0 if own_connection(server) is not mine and ask(server) == 0 else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert ask(server) == 0
    assert own_connection(server) is mine
