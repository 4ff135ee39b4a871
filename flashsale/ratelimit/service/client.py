"""A small client of the rate-limit service."""

from collections.abc import Sequence
from dataclasses import dataclass

import grpc
from envoy.extensions.common.ratelimit.v3.ratelimit_pb2 import RateLimitDescriptor
from envoy.service.ratelimit.v3 import rls_pb2, rls_pb2_grpc

from flashsale.ratelimit.service.server import DOMAIN


@dataclass(frozen=True, slots=True)
class Permission:
    """``headers``: what the service wants the caller's response to carry."""

    allowed: bool
    headers: dict[str, str]


class RateLimitClient:
    """Asks the service. Thread-safe; close it at the end."""

    def __init__(self, address: str, *, timeout_s: float = 0.1) -> None:
        """
        Args:
            address: ``host:port``.
            timeout_s: of one call.
        """
        self._channel = grpc.insecure_channel(address)
        self._stub = rls_pb2_grpc.RateLimitServiceStub(self._channel)
        self._timeout_s = timeout_s

    def should_pass(self, descriptors: Sequence[Sequence[tuple[str, str]]], *, hits: int = 1) -> Permission:
        """Whether a request with these descriptors may pass. Charges when it may; may be charged twice if repeated.

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
        """Give the connection back."""
        self._channel.close()
