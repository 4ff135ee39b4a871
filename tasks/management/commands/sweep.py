import signal
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import close_old_connections

from tasks import sweeps


class Command(BaseCommand):
    help = "Run the sweeps every second until stopped: the second process beside beat's."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, lambda *_: stop.set())
        while not stop.wait(settings.SWEEP_EVERY_S):
            close_old_connections()
            sweeps.run_all()
