"""Celery: what the settings are for is in docs/architecture.md, what each prevents is said here."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from celery.schedules import crontab
from kombu import Exchange, Queue
from kombu.transport import TRANSPORT_ALIASES
from redis.connection import URL_QUERY_ARGUMENT_PARSERS

from flashsale.settings import env
from flashsale.settings.redis import GATE_RETENTION_S


def _broker(url: str) -> tuple[str, dict[str, Any]]:
    """The URL as kombu takes it, and the transport's options: of a Redis URL's query kombu itself takes only those of TLS."""
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss") or not parts.query:
        return url, {}
    given = dict(parse_qsl(parts.query))
    tls = {name: given.pop(name) for name in list(given) if name.startswith("ssl_")}
    path = f"/{given.pop('db')}" if "db" in given else parts.path
    types: Mapping[str, Any] = URL_QUERY_ARGUMENT_PARSERS
    try:
        options = {name: types.get(name, str)(value) for name, value in given.items()}
    except ValueError as error:
        raise env.InvalidSetting("CELERY_BROKER_URL: an option of its query is no number") from error
    return parts._replace(path=path, query=urlencode(tls)).geturl(), options


CELERY_BROKER_URL, _broker_options = _broker(env.url("CELERY_BROKER_URL", schemes=tuple(TRANSPORT_ALIASES)))
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_DEFAULT_QUEUE = "dispatch"
CELERY_TASK_CREATE_MISSING_QUEUES = False

# A worker that dies gives its message back; a task that failed for good does not come again by itself.
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_ACKS_ON_FAILURE_OR_TIMEOUT = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_SOFT_TIME_LIMIT = 45
CELERY_TASK_TIME_LIMIT = 60
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 8.0
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_WORKER_MAX_MEMORY_PER_CHILD = 200_000  # KiB
CELERY_BEAT_SCHEDULER = "tasks.worker.beat:BoundedScheduler"
CELERY_WORKER_CONSUMER = "tasks.worker.consumer:PacedConsumer"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
# A worker that lost its broker ends and is started again: reconnected in place it may crash while it restores what it held
# (kombu 5.7), or stay connected and deaf.
CELERY_BROKER_CONNECTION_RETRY = False
CELERY_BROKER_POOL_LIMIT = 10
# A connection per task would cost 2 ms; one that died is found by the health check.
CELERY_DB_REUSE_MAX = 1000

# An eta message is held by a worker at most this long, then published anew, so the visibility timeout can stay short.
ETA_MAX_HOLD_S = 600
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 900,
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
    "priority_steps": [0],
    "socket_connect_timeout": 1.0,
    "socket_timeout": 10.0,
    "socket_keepalive": True,
    "health_check_interval": 25,
} | _broker_options

BATCH_SIZE = env.integer("BATCH_SIZE", 500, low=1, high=10_000)  # orders in one chain
DISPATCH_LINGER_MS = env.integer("DISPATCH_LINGER_MS", 25, low=0, high=1000)  # from one batch of an item to the next
BATCHES_IN_FLIGHT = 2  # per item, between claim and commit


QUEUES = ("dispatch", "inventory", "orders", "payments", "cancellations")
CELERY_TASK_QUEUES = [Queue(name, Exchange(name), routing_key=name) for name in QUEUES]
CELERY_TASK_ROUTES = {
    "tasks.dispatch": {"queue": "dispatch"},
    "tasks.sweep": {"queue": "dispatch"},
    "tasks.sweep_payments": {"queue": "payments"},
    "tasks.reconcile_payments": {"queue": "payments"},
    "tasks.sweep_unpaid": {"queue": "cancellations"},
    "tasks.forget_gates": {"queue": "dispatch"},
    "tasks.deduct_inventory": {"queue": "inventory"},
    "tasks.create_orders": {"queue": "orders"},
    "tasks.request_payments": {"queue": "payments"},
    "tasks.charge_payments": {"queue": "payments"},
    "tasks.apply_outcomes": {"queue": "payments"},
    "tasks.cancel_unpaid": {"queue": "cancellations"},
    "tasks.apply_effects": {"queue": "cancellations"},
}
SWEEP_EVERY_S = 1.0
# A sweep message that waited longer than the sweep's own pace has been overtaken by the next one.
CELERY_BEAT_SCHEDULE = {
    "sweep": {"task": "tasks.sweep", "schedule": SWEEP_EVERY_S, "options": {"expires": 2 * SWEEP_EVERY_S}},
    "sweep-unpaid": {"task": "tasks.sweep_unpaid", "schedule": SWEEP_EVERY_S, "options": {"expires": 2 * SWEEP_EVERY_S}},
    "sweep-payments": {"task": "tasks.sweep_payments", "schedule": SWEEP_EVERY_S, "options": {"expires": 2 * SWEEP_EVERY_S}},
    "reconcile-payments": {"task": "tasks.reconcile_payments", "schedule": crontab(hour=3, minute=17)},
    "forget-gates": {"task": "tasks.forget_gates", "schedule": min(3600.0, GATE_RETENTION_S / 2)},
}
