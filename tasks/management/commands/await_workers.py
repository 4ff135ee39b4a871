import time
from argparse import ArgumentParser
from typing import Any

import redis
from django.core.management.base import BaseCommand

from tasks.heartbeat import queues_without_worker

_PAUSE_S = 0.3


class Command(BaseCommand):
    help = "Return once every queue has a worker, or after a while: Flower asks the workers only once, when it starts."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--seconds", type=float, default=60)

    def handle(self, *args: Any, **options: Any) -> None:
        deadline = time.monotonic() + options["seconds"]
        while time.monotonic() < deadline:
            try:
                if not queues_without_worker():
                    return
            except redis.RedisError:
                pass  # it may be starting as well
            time.sleep(_PAUSE_S)
