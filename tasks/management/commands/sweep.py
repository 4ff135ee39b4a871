import signal
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from flashsale.core.durability import GateNotDurable, require_durable_gate
from tasks import sweeps


class Command(BaseCommand):
    help = "Run each sweep every second until stopped. Works in parallel to the sweeps that Celery beat starts."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            require_durable_gate()
        except GateNotDurable as error:
            raise CommandError(str(error)) from error
        self._stop = threading.Event()
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, lambda *_: self._stop.set())
        threads = [threading.Thread(target=self._repeat, args=(sweep,), name=sweep.__name__) for sweep in sweeps.SWEEPS]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _repeat(self, sweep: sweeps.Sweep) -> None:
        """Run one sweep every second. ``sweeps.run`` logs failures; the other sweeps continue."""
        try:
            while not self._stop.wait(settings.SWEEP_EVERY_S):
                sweeps.run(sweep)
        finally:
            connection.close()
