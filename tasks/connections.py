"""A worker's servers: refuses a gate that forgets, keeps the database connection between tasks, drops one that is no good."""

import sys
from typing import Any

from celery.signals import task_prerun, worker_init
from django.conf import settings
from django.db import Error, close_old_connections, connection

from flashsale.core.database.patience import patience
from flashsale.core.durability import GateNotDurable, require_durable_gate


@worker_init.connect
def refuse_a_gate_that_forgets(**_: Any) -> None:
    """Celery goes on after an exception in here; not after ``SystemExit``."""
    try:
        require_durable_gate()
    except GateNotDurable as error:
        sys.exit(str(error))


@task_prerun.connect
def drop_dead_connections(**_: Any) -> None:
    """Celery closes connections only every ``CELERY_DB_REUSE_MAX`` tasks; one that PostgreSQL's restart cut would stay dead."""
    close_old_connections()


def can_reach_ledger() -> bool:
    """Whether PostgreSQL takes what is written now: one small statement, on a new connection where the old one is no good."""
    with patience(settings.DATABASE_CONNECT_S):
        return _is_writable() or _is_writable()


def _is_writable() -> bool:
    """A connection that a restart cut, or one to a server that was read-only when it was made, is not kept."""
    try:
        if connection.is_writable():  # type: ignore[attr-defined]
            return True
    except Error:
        pass
    connection.close()
    return False
