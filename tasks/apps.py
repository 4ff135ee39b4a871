from django.apps import AppConfig

from flashsale.celery import app


class TasksConfig(AppConfig):
    """Every process that has the tasks has the Celery application that sends them."""

    name = "tasks"
    celery = app
