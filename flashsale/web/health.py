"""Liveness, readiness and metrics endpoints."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from flashsale.core.metrics import exposition
from flashsale.web import readiness


@csrf_exempt
@require_safe
def live(request: HttpRequest) -> JsonResponse:
    """200 if the process answers."""
    return JsonResponse({"live": True})


@csrf_exempt
@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    """200 if orders can be accepted and settled, else 503 with the failing parts and their reasons."""
    reasons = readiness.reasons()
    told = {"reasons": reasons} if reasons else {}
    return JsonResponse({"ready": not reasons, "missing": list(reasons), **told}, status=503 if reasons else 200)


@csrf_exempt
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Metrics in Prometheus's text format."""
    return HttpResponse(exposition(), content_type="text/plain; version=0.0.4; charset=utf-8")
