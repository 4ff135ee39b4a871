import signal
import threading
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from flashsale.gateway.publisher import Publisher


class Command(BaseCommand):
    help = "Publish the answers that are the same for all customers to the gateway on this host, until SIGTERM."

    def add_arguments(self, parser: ArgumentParser) -> None:
        address = "{}:{}".format(*settings.GATEWAY_EDGE)
        parser.add_argument("--listen", default=address, help="host:port that the gateway connects to; default: GATEWAY_EDGE")

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, lambda *_: stop.set())
        try:
            Publisher(Path(settings.GATEWAY_DIR)).run(stop, options["listen"])
        except (RuntimeError, OSError) as error:
            raise CommandError(f"{options['listen']}: {error}") from error
