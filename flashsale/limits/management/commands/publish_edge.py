import signal
import threading
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from flashsale.gateway.publisher import Publisher


class Command(BaseCommand):
    help = "Give the gateway on this host the answers that are the same for everybody, until SIGTERM."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, lambda *_: stop.set())
        Publisher(Path(settings.GATEWAY_DIR)).run(stop)
