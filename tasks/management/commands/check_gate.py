from typing import Any

from django.core.management.base import BaseCommand, CommandError

from flashsale.core.durability import GateNotDurable, require_durable_gate


class Command(BaseCommand):
    help = "Exit with 1 if the Redis at REDIS_URL may lose acknowledged orders. No process starts with such a Redis."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            require_durable_gate()
        except GateNotDurable as error:
            raise CommandError(str(error)) from error
