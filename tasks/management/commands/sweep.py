import logging
import signal
import sys
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import close_old_connections, connection

from flashsale.core.durability import GateNotDurable, require_durable_gate
from tasks import sweeps

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Run the sweeps every second until stopped, none waiting for another: the second process beside beat's."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            require_durable_gate()
        except GateNotDurable as error:
            raise CommandError(str(error)) from error
        self._stop = threading.Event()
        self._has_failed = False
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, lambda *_: self._stop.set())
        threads = [threading.Thread(target=self._repeat, args=(sweep,), name=sweep.__name__) for sweep in sweeps.SWEEPS]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._has_failed:
            sys.exit(1)

    def _repeat(self, sweep: sweeps.Sweep) -> None:
        try:
            while not self._stop.wait(settings.SWEEP_EVERY_S):
                close_old_connections()
                sweeps.run(sweep)
        except Exception:
            # A fault of ours: the process ends and is started anew, rather than going on without one of its sweeps.
            logger.exception("sweep broke", extra={"event": "sweep_broke", "sweep": sweep.__name__})
            self._has_failed = True
            self._stop.set()
        finally:
            connection.close()
