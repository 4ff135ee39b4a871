"""How long a request waits for a gate."""

import socket
import time

import pytest
import redis

from flashsale.core.redis_client import gate_client


@pytest.fixture
def silent():
    """The port of a server that takes connections and never answers, as one that was stopped."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(16)
        yield server.getsockname()[1]


@pytest.mark.timed
def test_a_gate_that_stands_still_is_waited_for_once(silent, settings):
    settings.REDIS_URL = f"redis://127.0.0.1:{silent}/0?protocol=2"
    settings.REDIS_TIMEOUT_S = 0.5
    client = gate_client.__wrapped__()
    began = time.monotonic()

    with pytest.raises(redis.TimeoutError):
        client.get("stock")

    assert 0.5 <= time.monotonic() - began < 0.9
