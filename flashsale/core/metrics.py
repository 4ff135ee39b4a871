"""What operators can graph; shared over processes through PROMETHEUS_MULTIPROC_DIR."""

import os
from pathlib import Path

from prometheus_client import REGISTRY as _PROCESS
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, multiprocess

from flashsale.core.ended_metrics import folded

ADMISSIONS = Counter("flashsale_admissions_total", "Order requests by what the gate said.", ["code"])
PURCHASE_TOKENS = Counter("flashsale_purchase_tokens_total", "Purchase-token requests by answer.", ["code"])
BATCH_ORDERS = Histogram("flashsale_batch_orders", "Orders in a batch.", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500))
REQUESTS_LATE = Counter("flashsale_requests_late_total", "Requests refused because they had waited too long for a thread.")
LIMIT_DECISIONS = Counter("flashsale_limit_decisions_total", "Decisions of a rate limit's rule.", ["rule", "result"])
LIMIT_NEAR = Counter("flashsale_limit_near_total", "Requests that passed with four fifths of a limit used.", ["rule"])
RPC_SECONDS = Histogram("flashsale_ratelimit_rpc_seconds", "Time of a call to the rate-limit service.")
STEP_SECONDS = Histogram("flashsale_step_seconds", "Time one step takes for a batch.", ["step"])
STEPS_GIVEN_UP = Counter("flashsale_steps_given_up_total", "Batches that a step gave up on; sweeps or people go on.", ["step"])
MESSAGES_NOT_SENT = Counter("flashsale_messages_not_sent_total", "Messages that the broker did not take in time.", ["task"])
PAYLOADS_UNREAD = Counter("flashsale_payloads_unread_total", "Payloads left to a process of another release.", ["where"])


def exposition() -> bytes:
    """The text format, over all processes where they share a folder."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if not folder:
        return generate_latest(_PROCESS)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    with folded(Path(folder)):
        return generate_latest(registry)
