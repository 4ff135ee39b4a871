"""Keeps a worker's database connection between tasks, drops one that has died, and says whether there can be one."""

from typing import Any

from celery.signals import task_prerun
from django.conf import settings
from django.db import Error, close_old_connections, connection

from flashsale.core.database.patience import patience


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
