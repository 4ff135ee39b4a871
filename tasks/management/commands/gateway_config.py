import subprocess
from argparse import ArgumentParser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from flashsale.gateway import bootstrap
from flashsale.stack.gateway import envoy_binary


class Command(BaseCommand):
    help = "Write the gateway's configuration for Envoy into GATEWAY_DIR and print its path."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="write nothing; let Envoy validate the configuration")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["check"]:
            self._check()
        else:
            self.stdout.write(str(bootstrap.write(Path(settings.GATEWAY_DIR))))

    def _check(self) -> None:
        with TemporaryDirectory() as folder:
            path = bootstrap.write(Path(folder))
            command = [str(envoy_binary()), "--mode", "validate", "--log-level", "error", "-c", str(path)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CommandError(done.stderr.strip() or done.stdout.strip())
