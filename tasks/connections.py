"""Keeps a worker's database connection between tasks, and drops one that has died."""

from typing import Any

from celery.signals import task_prerun
from django.db import close_old_connections


@task_prerun.connect
def drop_dead_connections(**_: Any) -> None:
    """Celery closes connections only every ``CELERY_DB_REUSE_MAX`` tasks; one that PostgreSQL's restart cut would stay dead."""
    close_old_connections()
