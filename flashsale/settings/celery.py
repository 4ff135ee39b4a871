"""Celery: what the settings are for is in docs/architecture.md, what each prevents is said here."""

from kombu import Exchange, Queue

from flashsale.settings import env
from flashsale.settings.redis import GATE_RETENTION_S

CELERY_BROKER_URL = env.text("CELERY_BROKER_URL")
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
CELERY_WORKER_CONSUMER = "tasks.paced_consumer:PacedConsumer"
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
}

BATCH_SIZE = env.integer("BATCH_SIZE", 500)  # orders in one chain
BATCHES_IN_FLIGHT = 2  # per item, between claim and commit


QUEUES = ("dispatch", "inventory", "orders", "payments", "cancellations")
CELERY_TASK_QUEUES = [Queue(name, Exchange(name), routing_key=name) for name in QUEUES]
CELERY_TASK_ROUTES = {
    "tasks.dispatch": {"queue": "dispatch"},
    "tasks.sweep": {"queue": "dispatch"},
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
    "forget-gates": {"task": "tasks.forget_gates", "schedule": min(3600.0, GATE_RETENTION_S / 2)},
}
