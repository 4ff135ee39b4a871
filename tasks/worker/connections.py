"""Connections of a worker: refuse a Redis that may lose data, keep the database connection between tasks, drop dead ones."""

import sys
from typing import Any

from celery.signals import task_prerun, worker_init
from django.conf import settings
from django.db import Error, close_old_connections, connection

from flashsale.core.database.patience import patience
from flashsale.core.durability import GateNotDurable, require_durable_gate


@worker_init.connect
def refuse_a_gate_that_forgets(**_: Any) -> None:
    """Stop the worker. Celery ignores other exceptions in a signal handler, but not ``SystemExit``."""
    try:
        require_durable_gate()
    except GateNotDurable as error:
        sys.exit(str(error))


@task_prerun.connect
def drop_dead_connections(**_: Any) -> None:
    """Drop connections that a PostgreSQL restart has cut. Celery only closes them every ``CELERY_DB_REUSE_MAX`` tasks."""
    close_old_connections()


def can_reach_ledger() -> bool:
    """Whether PostgreSQL accepts writes now. Runs one small statement; opens a new connection if the old one is dead."""
    with patience(settings.DATABASE_CONNECT_S):
        return _is_writable() or _is_writable()


def _is_writable() -> bool:
    """Whether the connection accepts writes. Closes it if it is dead or the server is read-only."""
    try:
        if connection.is_writable():  # type: ignore[attr-defined]
            return True
    except Error:
        pass
    connection.close()
    return False
