from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from flashsale.gateway import canary, routes


class Command(BaseCommand):
    help = "Send PERCENT of the customers to the canary. Takes effect at once. Without PERCENT, print the setting."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("percent", nargs="?", type=int, help="0 to 100; 0 turns it off")
        parser.add_argument("--mode", choices=("split",), default="split", help="split: the canary serves them")

    def handle(self, *args: Any, **options: Any) -> None:
        directory, percent = Path(settings.GATEWAY_DIR), options["percent"]
        if percent is None:
            self.stdout.write(str(routes.current_canary(directory)))
            return
        if not 0 <= percent <= 100:
            raise CommandError("PERCENT must be from 0 to 100")
        setting = canary.Setting(percent)
        if not routes.routes_path(directory).is_file():
            raise CommandError(
                f"no gateway configuration in {directory}; create it with `make up` or `manage.py gateway_config`"
            )
        if not routes.put_in_force(directory, setting):
            where = f"the gateway at {settings.GATEWAY_ADMIN} did not accept it"
            raise CommandError(f"{setting} is saved but not active: {where}. It takes effect when a gateway starts.")
        self.stdout.write(f"{setting}: active")
