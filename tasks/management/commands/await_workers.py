import time
from argparse import ArgumentParser
from typing import Any

import redis
from django.core.management.base import BaseCommand

from tasks.worker.heartbeat import queues_without_worker

_PAUSE_S = 0.3


class Command(BaseCommand):
    help = "Wait until every queue has a worker, up to a time limit. Flower queries the workers only once, when it starts."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--seconds", type=float, default=60)

    def handle(self, *args: Any, **options: Any) -> None:
        deadline = time.monotonic() + options["seconds"]
        while time.monotonic() < deadline:
            try:
                if not queues_without_worker():
                    return
            except redis.RedisError:
                pass  # Redis may still be starting
            time.sleep(_PAUSE_S)
