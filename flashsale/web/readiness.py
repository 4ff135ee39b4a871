"""Readiness checks: whether orders can be accepted and settled, with a reason for each failing part.

All parts are checked in parallel, each in its own thread with its own connections. A frozen part costs only the time limit. It
is checked again when its thread returns.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from time import monotonic
from typing import Any

import redis
from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from kombu.transport.redis import Channel
from redis.backoff import NoBackoff
from redis.retry import Retry

from flashsale.celery import app
from flashsale.core import durability
from flashsale.core.database.patience import patience
from flashsale.ratelimit.in_process import limits_client, rules_at
from tasks.worker import heartbeat

logger = logging.getLogger(__name__)
BOUND_S = 1.5  # time limit of all checks
_TIMEOUT_S = 1.0  # timeout of a single call
_LONGEST_REASON = 300
_PROBE_TTL_S = 5
_ORDERS_PLACES = ("api", "api:purchase-tokens", "api:orders", "api:order-pay", "produce:payments")


class NotReady(Exception):
    """The reason why a part is not ready."""


class Part:
    """A part and its thread. Thread-safe."""

    def __init__(self, name: str, ask: Callable[[], None]) -> None:
        self.name = name
        self._ask = ask
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"ready-{name}")
        self._lock = threading.Lock()
        self._asked: Future[None] | None = None

    def begin(self) -> "Future[None]":
        """Start a check, unless the last one is still running."""
        with self._lock:
            if self._asked is None or self._asked.done():
                self._asked = self._thread.submit(self._ask)
            return self._asked


def reasons() -> dict[str, str]:
    """Failing part -> reason. Empty if ready. Takes at most ``BOUND_S`` seconds."""
    deadline = monotonic() + BOUND_S
    asked = {part.name: part.begin() for part in _parts()}
    found = {name: _reason(answer, deadline) for name, answer in asked.items()}
    return {name: reason for name, reason in found.items() if reason}


def _reason(answer: "Future[None]", deadline: float) -> str:
    try:
        answer.result(max(0.0, deadline - monotonic()))
    except TimeoutError:
        return f"no answer within {BOUND_S:g} s"
    except Exception as error:  # an error in one part must not hide the others
        return (str(error).strip() or repr(error)).splitlines()[0][:_LONGEST_REASON]
    return ""


@cache
def _parts() -> tuple[Part, ...]:
    asks = {"database": _database, "redis": _gate, "broker": _broker, "workers": _workers, "limits": _limits}
    return tuple(Part(name, ask) for name, ask in asks.items())


def _database() -> None:
    with patience(_TIMEOUT_S):
        if connection.connection is not None and not connection.is_usable():  # closed since the last check
            connection.close()
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_is_in_recovery(), current_setting('transaction_read_only')")
            is_standby, read_only = cursor.fetchone()
            _require_writable(is_standby, read_only)
            # Run a complete transaction: a commit may wait for a lost standby.
            cursor.execute("SELECT pg_logical_emit_message(true, 'flashsale', 'ready')")
        _require_migrations()
    with suppress(redis.RedisError):  # the gate's own check reports this
        if trouble := heartbeat.ledger_trouble(_gate_probe()):
            raise NotReady(f"writes fail: {trouble}")


def _require_writable(is_standby: bool, read_only: str) -> None:
    if is_standby:
        connection.close()  # the host name may resolve to the new primary
        raise NotReady("PostgreSQL is a standby and read-only")
    if read_only == "on":
        connection.close()
        raise NotReady("PostgreSQL is read-only")


_migrated = threading.Event()


def _require_migrations() -> None:
    if _migrated.is_set():
        return
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        raise NotReady(f"migrations are not applied: {', '.join(str(migration) for migration, _ in missing)}")
    _migrated.set()


@cache
def _gate_probe() -> "redis.Redis":
    return redis.Redis.from_url(
        settings.REDIS_URL,
        decode_responses=True,
        socket_connect_timeout=_TIMEOUT_S / 2,
        socket_timeout=_TIMEOUT_S / 2,
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),  # closed since the last check
    )


def _gate() -> None:
    probe = _gate_probe()
    info = probe.info()
    if info.get("role", "master") != "master":
        probe.connection_pool.disconnect()  # as above
        raise NotReady("the gate's Redis is a replica and cannot accept orders")
    probe.set("fs:workers:ready", 1, ex=_PROBE_TTL_S)  # fails if memory or disk is full
    if found := durability.refused_faults(info):
        raise NotReady("; ".join(found))


class _Broker:
    """The broker check and its connection."""

    def __init__(self) -> None:
        self._connection: Any = None

    def ask(self) -> None:
        """
        Raises:
            Exception: any error of the transport. The connection is closed.
        """
        if self._connection is not None:
            try:
                self._take_a_message()
                return
            except Exception:  # closed since the last check
                self._give_up()
        try:
            self._take_a_message()
        except Exception:
            self._give_up()
            raise

    def _give_up(self) -> None:
        given_up, self._connection = self._connection, None
        if given_up is not None:
            with suppress(Exception):
                given_up.release()

    def _take_a_message(self) -> None:
        if self._connection is None:
            timeouts = {"socket_timeout": _TIMEOUT_S / 2, "socket_connect_timeout": _TIMEOUT_S / 2}
            options = {**app.conf.broker_transport_options, **timeouts, "retry_on_timeout": False}
            self._connection = app.connection_for_write(connect_timeout=_TIMEOUT_S, transport_options=options)
            self._connection.ensure_connection(max_retries=1, interval_start=0, timeout=_TIMEOUT_S)
        channel = self._connection.default_channel
        if isinstance(channel, Channel):
            channel.client.set("celery.ready", 1, ex=_PROBE_TTL_S)
        else:
            channel.basic_qos(0, 0, False)


_broker = _Broker().ask


def _workers() -> None:
    idle = heartbeat.queues_without_worker()
    if idle:
        raise NotReady(f"no worker for: {', '.join(idle)}")
    if heartbeat.sweeps_have_stopped():
        raise NotReady("no sweeps are running: check Celery beat and `manage.py sweep`")


def _limits() -> None:
    """Fails only if a rule refuses requests while its Redis is down."""
    rules = rules_at(*_ORDERS_PLACES)
    closed = [rule.name for rule in rules if rule.on_failure == "closed" and rule.on_limit != "log"]
    if not closed:
        return
    try:
        limits_client().ping()
    except redis.RedisError as error:
        raise NotReady(
            f"the Redis of the rate limits does not answer ({error}); these rules refuse all requests: {', '.join(closed)}"
        ) from error
