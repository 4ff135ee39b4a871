from django.apps import AppConfig

from flashsale.celery import app


class TasksConfig(AppConfig):
    """Loads the Celery application, so that every process with this app can send tasks."""

    name = "tasks"
    celery = app
