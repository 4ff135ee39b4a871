"""A client of the rate-limit service."""

from collections.abc import Sequence
from dataclasses import dataclass

import grpc
from envoy.extensions.common.ratelimit.v3.ratelimit_pb2 import RateLimitDescriptor
from envoy.service.ratelimit.v3 import rls_pb2, rls_pb2_grpc

from flashsale.ratelimit.service.server import DOMAIN


@dataclass(frozen=True, slots=True)
class Permission:
    """An answer of the service. ``headers``: headers for the caller's response."""

    allowed: bool
    headers: dict[str, str]


class RateLimitClient:
    """Client of the service. Thread-safe. Close it at the end."""

    def __init__(self, address: str, *, timeout_s: float = 0.1) -> None:
        """
        Args:
            address: ``host:port``.
            timeout_s: timeout per call, in seconds.
        """
        self._channel = grpc.insecure_channel(address)
        self._stub = rls_pb2_grpc.RateLimitServiceStub(self._channel)
        self._timeout_s = timeout_s

    def should_pass(self, descriptors: Sequence[Sequence[tuple[str, str]]], *, hits: int = 1) -> Permission:
        """Whether a request with these descriptors may pass. Charges the limits if so. Not idempotent.

        Raises:
            grpc.RpcError: the service did not answer in time.
        """
        request = rls_pb2.RateLimitRequest(domain=DOMAIN, hits_addend=hits)
        for entries in descriptors:
            descriptor = RateLimitDescriptor(
                entries=[RateLimitDescriptor.Entry(key=key, value=value) for key, value in entries]
            )
            request.descriptors.append(descriptor)
        answer = self._stub.ShouldRateLimit(request, timeout=self._timeout_s)
        allowed = answer.overall_code == rls_pb2.RateLimitResponse.OK
        return Permission(allowed, {header.key: header.value for header in answer.response_headers_to_add})

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()
