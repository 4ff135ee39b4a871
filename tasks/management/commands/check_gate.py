from typing import Any

from django.core.management.base import BaseCommand, CommandError

from flashsale.core.durability import GateNotDurable, require_durable_gate


class Command(BaseCommand):
    help = "Exit 1 when REDIS_URL names a server that may lose acknowledged orders, as every process refuses to start then."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            require_durable_gate()
        except GateNotDurable as error:
            raise CommandError(str(error)) from error
