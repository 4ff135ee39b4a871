"""Tell Envoy that the published answers are fresh, by a runtime key with a time to live (xDS resource TTL).

The key is sent repeatedly while the publisher has read the gate recently. If the publisher dies, hangs, or cannot reach the
gate, the key is not sent, and Envoy drops it after ``TTL_S``.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from envoy.service.discovery.v3 import discovery_pb2
from envoy.service.runtime.v3 import rtds_pb2, rtds_pb2_grpc

from flashsale.gateway.edge_answers import FRESH_KEY

LAYER = "edge"
TTL_S = 1.4  # plus the age of a reading, this is below the promised 2 s
LONGEST_AGE_S = 0.5
_EVERY_S = 0.3
_GATEWAYS = 8
_TYPE = "type.googleapis.com/envoy.service.runtime.v3.Runtime"


class Freshness(rtds_pb2_grpc.RuntimeDiscoveryServiceServicer):
    """Envoy's runtime discovery service, with one key."""

    def __init__(self, looked_at: Callable[[], float]) -> None:
        """
        Args:
            looked_at: when the publisher last read the gate and wrote the answers, in ``time.monotonic()``.
        """
        self._looked_at = looked_at

    def StreamRuntime(self, request_iterator: Any, context: Any) -> Iterator[discovery_pb2.DiscoveryResponse]:  # noqa: N802 - gRPC's name
        """Serve one gateway's stream until it ends."""
        number = 0
        while context.is_active():
            if time.monotonic() - self._looked_at() <= LONGEST_AGE_S:
                number += 1
                yield _fresh(number)
            time.sleep(_EVERY_S)


def _fresh(number: int) -> discovery_pb2.DiscoveryResponse:
    runtime = rtds_pb2.Runtime(name=LAYER)
    runtime.layer.update({FRESH_KEY: 100})
    resource = discovery_pb2.Resource(name=LAYER)
    resource.resource.Pack(runtime)
    resource.ttl.FromMilliseconds(int(TTL_S * 1000))
    response = discovery_pb2.DiscoveryResponse(version_info="fresh", type_url=_TYPE, nonce=str(number))
    response.resources.add().Pack(resource)
    return response


def serve(address: str, looked_at: Callable[[], float]) -> grpc.Server:
    """Start the service.

    Args:
        address: ``host:port``.

    Raises:
        RuntimeError: the port is taken.
    """
    server = grpc.server(ThreadPoolExecutor(max_workers=_GATEWAYS, thread_name_prefix="freshness"))
    rtds_pb2_grpc.add_RuntimeDiscoveryServiceServicer_to_server(Freshness(looked_at), server)
    server.add_insecure_port(address)
    server.start()
    return server
