"""The gRPC server: ShouldRateLimit, health, reflection, graceful shutdown."""

import asyncio
import logging
import signal
from collections.abc import Sequence

import grpc
import redis.asyncio
from asgiref.sync import sync_to_async
from django.conf import settings
from envoy.config.core.v3.base_pb2 import HeaderValue
from envoy.service.ratelimit.v3 import rls_pb2, rls_pb2_grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import start_http_server
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from flashsale.core.metrics import RPC_SECONDS
from flashsale.ratelimit.headers import headers, retry_after
from flashsale.ratelimit.in_process import limiter, ruleset
from flashsale.ratelimit.limiter import Asked, Decision
from flashsale.ratelimit.service.decider import AsyncDecider
from flashsale.ratelimit.service.descriptors import hits_of, matching, status

logger = logging.getLogger(__name__)
DOMAIN = "flashsale"
SERVICE = "envoy.service.ratelimit.v3.RateLimitService"
_DRAIN_S = 2.0
_GRACE_S = 5.0
_REFRESH_S = 0.4
_MOST_DESCRIPTORS = 32

Response = rls_pb2.RateLimitResponse


class RateLimitService(rls_pb2_grpc.RateLimitServiceServicer):
    """Decides all descriptors of a request together. If one rule is over its limit, none is charged."""

    def __init__(self, decider: AsyncDecider) -> None:
        self._decider = decider

    async def ShouldRateLimit(  # noqa: N802 - the protocol's name
        self, request: rls_pb2.RateLimitRequest, context: "grpc.aio.ServicerContext"
    ) -> rls_pb2.RateLimitResponse:
        """Answer OK for other domains and for descriptors without a rule, like Envoy's reference service."""
        if len(request.descriptors) > _MOST_DESCRIPTORS:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"more than {_MOST_DESCRIPTORS} descriptors")
        hits = {hits_of(request, descriptor) for descriptor in request.descriptors} or {1}
        if len(hits) > 1:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "descriptors of a request must have the same hits_addend")
        with RPC_SECONDS.time():
            return await self._decide(request, hits.pop())

    async def _decide(self, request: rls_pb2.RateLimitRequest, hits: int) -> rls_pb2.RateLimitResponse:
        rules = ruleset().in_force_at("gateway") if request.domain == DOMAIN else []
        found = [matching(rules, descriptor) for descriptor in request.descriptors]
        asked: Asked = [pair for pairs in found for pair in pairs]
        decision = await self._decider.check(asked, hits)
        return _response(found, decision)


def _response(found: Sequence[Asked], decision: Decision) -> rls_pb2.RateLimitResponse:
    answers = {(answer.rule.name, answer.key): answer for answer in decision.answers}
    response = Response(overall_code=Response.OK if decision.allowed else Response.OVER_LIMIT)
    for pairs in found:
        statuses = [status(answer.rule, answer.reading) for rule, key in pairs if (answer := answers.get((rule.name, key)))]
        over = [one for one in statuses if one.code == Response.OVER_LIMIT]
        closest = min(statuses, key=lambda one: one.limit_remaining, default=Response.DescriptorStatus(code=Response.OK))
        response.statuses.append(over[0] if over else closest)
    said = headers(decision) | ({} if decision.allowed else {"Retry-After": retry_after(decision.retry_after_s)})
    response.response_headers_to_add.extend(HeaderValue(key=name.lower(), value=value) for name, value in said.items())
    return response


def _is_not_a_caller_gone(record: logging.LogRecord) -> bool:
    """Filter out tracebacks that gRPC logs when a caller stops waiting."""
    return "ExecuteBatchError raised in core" not in record.getMessage()


async def _keep_rules() -> None:
    """Refresh the rules in the background, not inside a call."""
    while True:
        await sync_to_async(ruleset().refresh)()
        await asyncio.sleep(_REFRESH_S)


async def serve(address: str, metrics_address: tuple[str, int] | None) -> None:
    """Serve until SIGTERM or SIGINT. Running calls are finished.

    Args:
        address: ``host:port``.
        metrics_address: host and port of the Prometheus endpoint; None for none.

    Raises:
        RuntimeError: the address cannot be bound.
    """
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_not_a_caller_gone)
    await sync_to_async(ruleset().refresh)()
    client = redis.asyncio.Redis.from_url(
        settings.RATELIMIT_REDIS_URL,
        decode_responses=True,
        socket_connect_timeout=settings.RATELIMIT_TIMEOUT_S,
        socket_timeout=settings.RATELIMIT_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    rls_pb2_grpc.add_RateLimitServiceServicer_to_server(RateLimitService(AsyncDecider(client, limiter())), server)
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    for name in ("", SERVICE):
        await checks.set(name, health_pb2.HealthCheckResponse.SERVING)
    reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    if not server.add_insecure_port(address):
        raise RuntimeError(f"cannot bind {address}")
    if metrics_address:
        start_http_server(metrics_address[1], addr=metrics_address[0])
    stop = asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, stop.set)
    await server.start()
    refreshing = asyncio.create_task(_keep_rules())
    logger.warning("rate-limit service is ready", extra={"event": "ratelimit_service_ready", "address": address})
    await stop.wait()
    # Report unhealthy first, and keep serving until load balancers have noticed.
    await checks.enter_graceful_shutdown()
    await asyncio.sleep(_DRAIN_S)
    await server.stop(_GRACE_S)
    refreshing.cancel()
    await client.aclose()
