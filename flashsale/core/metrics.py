"""Prometheus metrics. Processes share them through PROMETHEUS_MULTIPROC_DIR."""

import os
from functools import lru_cache
from pathlib import Path

from prometheus_client import REGISTRY as _PROCESS
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, multiprocess

from flashsale.core.ended_metrics import folded

ADMISSIONS = Counter("flashsale_admissions_total", "Order requests by result code.", ["code"])
PURCHASE_TOKENS = Counter("flashsale_purchase_tokens_total", "Purchase-token requests by result code.", ["code"])
BATCH_ORDERS = Histogram("flashsale_batch_orders", "Orders per batch.", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500))
REQUESTS_LATE = Counter(
    "flashsale_requests_late_total", "Requests answered 503 because they were queued longer than REQUEST_WAIT_S."
)
LIMIT_DECISIONS = Counter("flashsale_limit_decisions_total", "Rate-limit decisions by rule and result.", ["rule", "result"])
LIMIT_NEAR = Counter("flashsale_limit_near_total", "Requests that passed with at least 80 % of a limit used.", ["rule"])
RPC_SECONDS = Histogram("flashsale_ratelimit_rpc_seconds", "Duration of calls to the rate-limit service.")
STEP_SECONDS = Histogram("flashsale_step_seconds", "Duration of a pipeline step for one batch.", ["step"])
STEPS_GIVEN_UP = Counter(
    "flashsale_steps_given_up_total", "Batches that a step gave up on. Sweeps or staff continue them.", ["step"]
)
MESSAGES_NOT_SENT = Counter("flashsale_messages_not_sent_total", "Messages that the broker did not confirm in time.", ["task"])
BREAKER_CHANGES = Counter("flashsale_breaker_changes_total", "Changes of a circuit breaker to a state.", ["breaker", "state"])
PAYLOADS_UNREAD = Counter("flashsale_payloads_unread_total", "Payloads left for another release.", ["where"])


def exposition() -> bytes:
    """Metrics in the text format, of all processes if they share a folder."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if not folder:
        return generate_latest(_PROCESS)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    with folded(Path(folder)):
        return generate_latest(registry)


@lru_cache(maxsize=4_096)
def child(counter: Counter, *labels: str) -> Counter:
    """The counter of these label values; ``labels()`` costs more than the counting."""
    return counter.labels(*labels)
