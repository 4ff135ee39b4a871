"""An embedded server that dies is started again on its data, or the stack ends and says why."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import psycopg2
import pytest
import redis

from tests.conftest import ROOT, eventually

# As the launcher does it, without the processes of the shop. A server dies with the process that has started it.
_STACK = """
import sys, threading
from pathlib import Path
from flashsale.stack.embedded import Embedded
from flashsale.stack.revive import Reviver
over = threading.Event()
embedded = Embedded(Path(sys.argv[1]), {})
with embedded:
    with Reviver(embedded.servers.values(), lambda text: print(text, flush=True), over.set) as reviver:
        for name, server in embedded.servers.items():
            print(name, server.process.pid, server.admin_url, flush=True)
        print("running", flush=True)
        threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
        over.wait()
    print("failure:", reviver.failure, flush=True)
"""


class Stack:
    def __init__(self, folder):
        self.folder = folder
        folder.chmod(0o755)
        self.popen = subprocess.Popen(
            [sys.executable, "-c", _STACK, str(folder)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.servers = {}
        while (line := self.popen.stdout.readline().strip()) != "running":
            name, pid, url = line.split()
            self.servers[name] = int(pid), url

    def url(self, name):
        return self.servers[name][1]

    def kill(self, name):
        psutil.Process(self.servers[name][0]).kill()
        assert self.popen.stdout.readline().endswith("has ended (signal 9); starting it again on its data\n")

    def end(self):
        said, _ = self.popen.communicate(timeout=40)
        return said


@pytest.fixture
def stack_of_its_own():
    with tempfile.TemporaryDirectory(prefix="flashsale-revive-") as folder:
        stack = Stack(Path(folder))
        yield stack
        if stack.popen.poll() is None:
            stack.end()


def _reads(url, key):
    try:
        with redis.Redis.from_url(url, decode_responses=True) as client:
            return client.get(key)
    except redis.RedisError:
        return None


def _rows(url):
    try:
        link = psycopg2.connect(url)
    except psycopg2.OperationalError:
        return None
    with link.cursor() as cursor:
        cursor.execute("SELECT n FROM kept")
        found = cursor.fetchall()
    link.close()
    return found


def test_a_killed_server_is_back_on_its_data(stack_of_its_own):
    for name in ("REDIS_URL", "CELERY_BROKER_URL"):
        url = stack_of_its_own.url(name)
        with redis.Redis.from_url(url) as client:
            client.set("fs:kept", "1")
            client.execute_command("WAITAOF", 1, 0, 5000)
        stack_of_its_own.kill(name)
        assert eventually(lambda url=url: _reads(url, "fs:kept"), within=20) == "1"

    link = psycopg2.connect(stack_of_its_own.url("DATABASE_URL"))
    with link, link.cursor() as cursor:
        cursor.execute("CREATE TABLE kept AS SELECT 1 AS n")
    link.close()
    stack_of_its_own.kill("DATABASE_URL")
    assert eventually(lambda: _rows(stack_of_its_own.url("DATABASE_URL")), within=30) == [(1,)]
    assert stack_of_its_own.end().endswith("failure: \n")


@pytest.mark.slow
def test_a_server_that_cannot_be_started_ends_the_stack_with_its_last_words(stack_of_its_own):
    incremental = next((stack_of_its_own.folder / "gate" / "appendonlydir").glob("*.incr.aof"))
    with incremental.open("r+b") as file:
        file.write(b"spoilt from the very first byte on")
    stack_of_its_own.kill("REDIS_URL")

    said = ""
    while "failure:" not in said:
        said += stack_of_its_own.popen.stdout.readline()

    assert stack_of_its_own.popen.wait(40) == 0
    assert said.count("starting it again") == 4
    assert "failure: gate has ended 6 times within 60 s: " in said
    assert "Bad file format" in said.rpartition("failure:")[2]
