"""/health/ready is red, with the reason, while no order can be taken or settled; and answers in time whatever is frozen."""

import signal
import threading
import time
from contextlib import contextmanager

import psutil
import pytest
import redis
from django.conf import settings
from django.db.migrations.recorder import MigrationRecorder

from flashsale.core.redis_client import gate_client
from flashsale.web import readiness
from tasks import sweeps
from tasks.worker import heartbeat
from tests.conftest import Process, eventually, running, start_worker
from tests.crash.crowd import call
from tests.crash.test_postgresql_frozen import frozen
from tests.crash.test_postgresql_read_only import read_only_server, read_only_sessions

pytestmark = pytest.mark.django_db(transaction=True)
_BOUND_S = 3.0  # its own 1.5 s and a busy machine
_FROZEN = {"database": "DATABASE_URL", "redis": "REDIS_URL", "broker": "CELERY_BROKER_URL"}


def ready(url):
    status, body, _ = call(url, "GET", "/health/ready")
    assert (status == 200) == body["ready"] == (not body["missing"])
    assert body["missing"] == list(body.get("reasons", {}))
    return body


def eventually_red(url, part):
    return eventually(lambda: ready(url).get("reasons", {}).get(part), what=lambda: ready(url))


@pytest.fixture
def green(live_url, workers):
    heartbeat._say(
        {heartbeat._KEY.format(queue): ("1", 8) for queue in settings.QUEUES}
    )  # as it was before the gate was emptied
    eventually(lambda: ready(live_url) == {"ready": True, "missing": []}, what=lambda: ready(live_url))
    yield live_url
    eventually(lambda: ready(live_url)["ready"], what=lambda: ready(live_url))


@contextmanager
def configured(**options):
    """The gate's server with these settings, within the block."""
    admin = gate_client()
    before = {name: admin.config_get(name)[name] for name in options}
    try:
        for name, value in options.items():
            admin.config_set(name, value)
        yield
    finally:
        for name, value in before.items():
            admin.config_set(name, value)


@pytest.mark.parametrize("state", [read_only_server, read_only_sessions])
def test_a_read_only_database_is_told(state, green, stack):
    with state(stack):
        eventually(lambda: ready(green).get("reasons") == {"database": "PostgreSQL is read-only"}, what=lambda: ready(green))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"maxmemory": "1", "maxmemory-policy": "noeviction"}, "OOM|command not allowed"),
        ({"maxmemory-policy": "allkeys-lru"}, "maxmemory-policy is allkeys-lru"),
        ({"appendonly": "no"}, "append-only file is off"),
        ({"min-replicas-to-write": "1"}, "NOREPLICAS|replicas"),
    ],
)
def test_a_gate_that_takes_no_orders_or_may_lose_them_is_told(options, reason, green):
    with configured(**options):
        said = eventually_red(green, "redis")

    assert any(part.lower() in said.lower() for part in reason.split("|"))


def test_a_gate_that_has_become_a_replica_is_told(green, stack):
    admin = gate_client()
    admin.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        assert "replica" in eventually_red(green, "redis")
    finally:
        admin.execute_command("REPLICAOF", "NO", "ONE")


def test_a_broker_that_takes_no_message_is_told(green):
    with redis.Redis.from_url(settings.CELERY_BROKER_URL, decode_responses=True) as broker:
        broker.config_set("maxmemory", 1)
        try:
            assert "memory" in eventually_red(green, "broker")
        finally:
            broker.config_set("maxmemory", 0)


@pytest.mark.parametrize("part", _FROZEN)
def test_a_frozen_server_is_told_in_time(part, green, stack):
    server = psutil.Process(stack.servers[_FROZEN[part]].process.pid)
    with frozen(stack) if part == "database" else stopped(server):
        began = time.monotonic()
        said = ready(green)
        took = time.monotonic() - began

    assert part in said["reasons"]
    assert "database" not in said["reasons"] or part == "database"
    assert took < _BOUND_S


@contextmanager
def stopped(process):
    process.suspend()
    try:
        yield
    finally:
        process.resume()


def test_a_worker_whose_event_loop_stands_still_is_none(no_workers, live_url):
    with running(start_worker("ready")) as worker:
        eventually(lambda: ready(live_url)["ready"], what=lambda: ready(live_url))
        with stopped(psutil.Process(worker.popen.pid)):
            gate_client().delete(*(f"fs:workers:{queue}" for queue in settings.QUEUES))  # or wait until it is forgotten
            assert eventually_red(live_url, "workers").startswith("no worker for: dispatch, inventory")


def test_a_heart_that_beats_beside_a_stuck_loop_is_not_heard(monkeypatch):
    monkeypatch.setattr(heartbeat, "_STUCK_S", 0.05)
    pulse = heartbeat.Pulse()
    assert not pulse.is_stuck
    eventually(lambda: pulse.is_stuck)
    pulse.beat()
    assert not pulse.is_stuck


def test_sweeps_that_ran_and_run_no_more_are_missed(green):
    assert not heartbeat.sweeps_have_stopped()
    sweeps.run(sweeps.effects)
    gate_client().delete("fs:workers:swept")

    assert eventually_red(green, "workers").startswith("no sweeps are running")

    heartbeat._Swept.said_at = 0.0
    sweeps.run(sweeps.effects)


def test_what_only_writers_notice_is_told(green):
    from django.db import connection

    def full_disk():
        with connection.cursor() as cursor:
            cursor.execute("DO $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$")

    sweeps.run(full_disk)

    assert eventually_red(green, "database") == "writes fail: could not extend file (53100)"
    gate_client().delete("fs:workers:trouble")


def test_migrations_that_are_not_applied_are_told(monkeypatch):
    newest = MigrationRecorder.Migration.objects.filter(app="orders").order_by("-pk").first()
    monkeypatch.setattr(readiness, "_migrated", threading.Event())
    MigrationRecorder.Migration.objects.filter(pk=newest.pk).delete()
    try:
        with pytest.raises(readiness.NotReady, match=f"orders.{newest.name}"):
            readiness._require_migrations()
    finally:
        newest.save()

    readiness._require_migrations()
    assert readiness._migrated.is_set()


def test_asking_often_opens_no_connections(green):
    ready(green)
    with redis.Redis.from_url(settings.CELERY_BROKER_URL) as broker:
        before = broker.info("stats")["total_connections_received"]
        for _ in range(10):
            ready(green)
        assert broker.info("stats")["total_connections_received"] - before <= 2  # other processes' own


@pytest.mark.parametrize(
    "command", [("python", "manage.py", "sweep"), ("celery", "-A", "flashsale", "worker", "-c", "1", "-l", "WARNING")]
)
def test_a_process_refuses_a_gate_that_may_lose_orders(command, no_workers):
    with configured(appendonly="no"):
        process = Process("refused", *command)
        code = process.popen.wait(30)

    assert code == 1
    assert "the Redis at REDIS_URL may lose acknowledged orders" in process.text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"maxmemory-policy": "allkeys-lru"}, "maxmemory-policy is allkeys-lru"),
        ({"appendfsync": "everysec"}, "the gate has appendfsync everysec"),
    ],
)
def test_a_process_only_warns_of_such_a_gate_where_that_is_asked_for(options, said, no_workers):
    with (
        configured(**options),
        # As a user who may ask for the server's settings.
        running(
            Process("warned", "python", "manage.py", "sweep", GATE_DURABILITY="warn", REDIS_URL=settings.REDIS_URL)
        ) as process,
    ):
        eventually(lambda: said in process.text(), within=30, what=process.text)
        assert process.popen.poll() is None
        process.popen.send_signal(signal.SIGTERM)
        assert process.popen.wait(15) == 0
