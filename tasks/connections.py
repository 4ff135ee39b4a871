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
    """Whether PostgreSQL answers now: one small statement, on a new connection where the old one has died."""
    try:
        with patience(settings.DATABASE_CONNECT_S):
            connection.ensure_connection()
            if not connection.is_usable():  # a restart cut it
                connection.close()
                connection.ensure_connection()
    except Error:
        return False
    return True
