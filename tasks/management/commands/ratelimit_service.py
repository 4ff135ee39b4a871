"""Run the rate-limit service."""

import asyncio
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from flashsale.ratelimit.service.server import serve


class Command(BaseCommand):
    help = "Serve the rate limits over gRPC (Envoy's rate-limit protocol v3) until SIGTERM."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8081)
        parser.add_argument("--metrics-host", default="127.0.0.1")
        parser.add_argument("--metrics-port", type=int)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            port = options["metrics_port"]
            metrics = (options["metrics_host"], port) if port else None
            asyncio.run(serve(f"{options['host']}:{options['port']}", metrics))
        except (RuntimeError, OSError) as error:
            raise CommandError(str(error)) from error
