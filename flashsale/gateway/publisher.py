"""Watch the gate, and give Envoy the answers that are the same for everybody.

One process runs on each gateway's host. Its last reading is at most ``_EVERY_S`` old. Its answers are in force only while it
can read the gate (see ``freshness``).
"""

import logging
import threading
import time
from pathlib import Path

from django.conf import settings
from django.db import Error, close_old_connections

from flashsale.core.errors import FlashsaleError
from flashsale.gateway import freshness, routes
from flashsale.gateway.edge_answers import EdgeAnswer, routes_of
from flashsale.gateway.public_answers import PublicAnswers
from flashsale.ratelimit.in_process import rules_at
from flashsale.ratelimit.rule import Rule
from inventory import catalog

logger = logging.getLogger(__name__)
_EVERY_S = 0.1


def _is_kept_by_the_local_bucket(rule: Rule) -> bool:
    """Whether the gateway's local bucket per address is at least as strict as the rule. The service is not needed then."""
    return (
        rule.key == "address"
        and rule.algorithm == "token_bucket"
        and not rule.warm_up_ms
        and rule.burst >= settings.GATEWAY_ADDRESS_BURST
        and rule.rate * 1000 >= settings.GATEWAY_ADDRESS_RATE * rule.window_ms
    )


class Publisher:
    """Write the answers into the gateway's routes when they change, and record when they were last true."""

    def __init__(self, directory: Path) -> None:
        """
        Args:
            directory: the folder of the gateway's files.
        """
        self._directory = directory
        self._answers = PublicAnswers()
        self._written: tuple[list[EdgeAnswer], bool] | None = None
        self.looked_at = 0.0

    def look(self) -> None:
        """Write the public answers if they have changed. May run twice."""
        began = time.monotonic()
        try:
            self._write(self._answers.look())
        except (FlashsaleError, Error, OSError) as error:
            logger.warning("edge answers not published", extra={"event": "edge_not_published", "error": repr(error)})
            return
        self.looked_at = began

    def _write(self, found: list[EdgeAnswer]) -> None:
        wanted = found, not all(map(_is_kept_by_the_local_bucket, rules_at("gateway")))
        if wanted != self._written:
            in_front = routes_of(found, settings.CORS_ALLOWED_ORIGINS)
            routes.publish_edge(self._directory, in_front, asks_service=wanted[1])
            self._written = wanted

    def run(self, stop: threading.Event, address: str) -> None:
        """Publish ten times a second until told to stop. After that the answers are not in force any more.

        Args:
            address: ``host:port`` of the freshness service for gateways.

        Raises:
            RuntimeError, OSError: the address is in use, or the gateway's folder cannot be written.
        """
        catalog.keep()
        server = freshness.serve(address, lambda: self.looked_at)
        try:
            while not stop.wait(_EVERY_S):
                self.look()
                close_old_connections()
        finally:
            server.stop(grace=None)
            routes.publish_edge(self._directory, {})
