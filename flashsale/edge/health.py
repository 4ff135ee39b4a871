"""Is this process alive; can the system take and settle orders; what does it count."""

from collections.abc import Callable

import redis
from django.db import Error, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from kombu.exceptions import OperationalError

from flashsale.celery import app
from flashsale.core.metrics import exposition
from flashsale.core.redis_client import gate_client
from tasks.heartbeat import queues_without_worker


@csrf_exempt
@require_safe
def live(request: HttpRequest) -> JsonResponse:
    """The process answers."""
    return JsonResponse({"live": True})


def _database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _redis() -> None:
    gate_client().ping()


def _broker() -> None:
    with app.connection_for_read(connect_timeout=1) as broker:
        broker.ensure_connection(max_retries=1, interval_start=0, timeout=2)


def _workers() -> None:
    idle = queues_without_worker()
    if idle:
        raise OSError(f"no worker for: {', '.join(idle)}")


_PARTS: dict[str, Callable[[], None]] = {
    "database": _database,
    "redis": _redis,
    "broker": _broker,
    "workers": _workers,
}


@csrf_exempt
@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    """200 when every part answers, else 503 with the names of those that do not."""
    missing = [name for name, ask in _PARTS.items() if not _answers(ask)]
    return JsonResponse({"ready": not missing, "missing": missing}, status=503 if missing else 200)


def _answers(ask: Callable[[], None]) -> bool:
    try:
        ask()
    except (Error, redis.RedisError, OperationalError, OSError):
        return False
    return True


@csrf_exempt
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus's text format."""
    return HttpResponse(exposition(), content_type="text/plain; version=0.0.4; charset=utf-8")
