"""The embedded servers know nobody without a password, and what the application is there may do no more than it needs."""

import os
import secrets
import stat
import subprocess
import tempfile
from pathlib import Path

import psycopg2
import pytest
import redis
from django.conf import settings
from redis.exceptions import AuthenticationError, NoPermissionError

from flashsale.stack.postgresql_roles import APP
from flashsale.stack.servers import PostgreSQL
from tests.servers import STACK

# Flushing, settings, other users, code that stays, the server's end: whoever may do these may do everything.
_FORBIDDEN = (
    "FLUSHALL",
    "FLUSHDB",
    "CONFIG GET appendonly",
    "CONFIG SET appendonly no",
    "DEBUG SLEEP 0",
    "SHUTDOWN NOSAVE",
    "ACL LIST",
    "KEYS *",
    "FUNCTION LIST",
    "SCRIPT FLUSH",
    "REPLICAOF NO ONE",
    "CLIENT KILL TYPE normal",
    "MONITOR",
    "SELECT 1",
)


def client(url):
    return redis.Redis.from_url(url, decode_responses=True, socket_timeout=5)


@pytest.mark.parametrize("name", ["REDIS_URL", "CELERY_BROKER_URL"])
def test_nobody_is_let_in_without_a_password(name):
    server = STACK.servers[name]

    for url in (f"redis://127.0.0.1:{server.port}/0", f"redis://flashsale:guess@127.0.0.1:{server.port}/0"):
        with client(url) as stranger, pytest.raises(AuthenticationError):
            stranger.get("fs:{1}:meta")


@pytest.mark.parametrize("command", _FORBIDDEN)
@pytest.mark.parametrize("name", ["REDIS_URL", "CELERY_BROKER_URL"])
def test_the_application_cannot_rule_the_server(name, command):
    admin = client(STACK.servers[name].admin_url)
    admin.set("fs:kept", "1")

    with client(STACK.servers[name].url) as app, pytest.raises((NoPermissionError, redis.ResponseError)):
        app.execute_command(*command.split())

    assert admin.getdel("fs:kept") == "1"


def test_the_application_cannot_flush_from_within_a_script():
    with client(STACK.servers["REDIS_URL"].url) as app, pytest.raises(redis.ResponseError, match="ermission"):
        app.eval("return redis.call('FLUSHALL')", 0)


def test_the_gate_holds_the_applications_keys_and_no_others():
    with client(STACK.servers["REDIS_URL"].url) as app, pytest.raises(NoPermissionError):
        app.set("other", "1")


def test_the_broker_takes_every_queue_of_the_settings():
    with client(STACK.servers["CELERY_BROKER_URL"].admin_url) as admin:
        asked = {queue: admin.execute_command("ACL", "DRYRUN", APP, "LPUSH", queue, "x") for queue in settings.QUEUES}

    assert set(asked.values()) == {"OK"}, asked


def test_the_applications_role_owns_its_database_and_is_no_superuser():
    with psycopg2.connect(STACK.admin_addresses["DATABASE_URL"]) as link, link.cursor() as cursor:
        cursor.execute("SELECT rolsuper, rolcreaterole, rolreplication, rolbypassrls FROM pg_roles WHERE rolname = %s", [APP])
        assert cursor.fetchone() == (False, False, False, False)
        cursor.execute("SELECT datdba::regrole::text FROM pg_database WHERE datname = 'flashsale'")
        assert cursor.fetchone() == (APP,)
        cursor.execute("SELECT DISTINCT auth_method FROM pg_hba_file_rules")
        assert cursor.fetchall() == [("scram-sha-256",)]


@pytest.mark.parametrize(
    "statement",
    ["CREATE ROLE friend SUPERUSER", "COPY (SELECT 1) TO PROGRAM 'true'", "SELECT pg_read_file('PG_VERSION')"],
)
def test_the_applications_role_cannot_leave_its_database(statement):
    link = psycopg2.connect(STACK.servers["DATABASE_URL"].url)

    with link.cursor() as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege):
        cursor.execute(statement)

    link.close()


def test_no_file_of_the_servers_is_readable_for_others(stack):
    home = stack.folder
    gate = client(stack.servers["REDIS_URL"].admin_url)
    gate.set("fs:written", "1")
    gate.delete("fs:written")

    readable = [path for name in ("gate", "broker") for path in (home / name).rglob("*") if _mode(path) & 0o077]
    readable += [path for path in home.iterdir() if path.suffix in (".acl", ".password") and _mode(path) & 0o077]
    readable += [home / name for name in ("gate", "broker", "postgresql") if _mode(home / name) & 0o077]

    assert readable == []


def _mode(path):
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def home():
    """A folder that PostgreSQL's own user can reach."""
    with tempfile.TemporaryDirectory(prefix="flashsale-former-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.slow
def test_old_folder_keeps_its_data_and_gets_an_ordinary_role(home):
    former = PostgreSQL(home)
    password = secrets.token_hex(8)
    _initialise_as_formerly(former, home, password)
    former.start()
    try:
        with psycopg2.connect(former.url) as link, link.cursor() as cursor:
            cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
            assert cursor.fetchone() == (False,)
            cursor.execute("SELECT relowner::regrole::text FROM pg_class WHERE relname IN ('kept', 'kept_id_seq', 'kept_pkey')")
            assert cursor.fetchall() == [(APP,)] * 3
            cursor.execute("INSERT INTO kept (what) VALUES ('new') RETURNING id")
            assert cursor.fetchone() == (2,)
        with pytest.raises(psycopg2.OperationalError):
            psycopg2.connect(former.url.replace("flashsale:", "flashsale_former:", 1))
    finally:
        former.stop()


def _initialise_as_formerly(server, home, password):
    """As it was made before the application's role lost its rights, with a table."""
    binaries, user = server._binaries(), server._user
    (home / "postgresql").mkdir(mode=0o700)
    secret = home / "postgresql.password"
    secret.touch(mode=0o600)
    secret.write_text(password)
    if user is not None:
        os.chown(home / "postgresql", user, user)
        os.chown(secret, user, user)
    command = [binaries / "initdb", "-D", home / "postgresql", "-U", APP, "-A", "scram-sha-256", f"--pwfile={secret}"]
    subprocess.run(command, check=True, user=user, group=user, cwd="/", stdout=subprocess.DEVNULL)
    single = [binaries / "postgres", "--single", "-D", home / "postgresql"]
    for database, lines in (
        ("postgres", "CREATE DATABASE flashsale\n"),
        ("flashsale", "CREATE TABLE kept (id serial PRIMARY KEY, what text)\nINSERT INTO kept (what) VALUES ('old')\n"),
    ):
        subprocess.run(
            [*single, database], input=lines.encode(), check=True, user=user, group=user, cwd="/", stdout=subprocess.DEVNULL
        )
