"""The bad network is as bad as it says, over real sockets."""

import socket
import socketserver
import threading
import time
from contextlib import contextmanager, suppress

import pytest

from tests.chaos.network import Network
from tests.conftest import eventually


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        with suppress(ConnectionError):
            while data := self.request.recv(65536):
                self.server.heard += data
                self.request.sendall(data)


@pytest.fixture
def server():
    """An echo, with a memory of what arrived."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as echo:
        echo.daemon_threads, echo.heard = True, b""
        threading.Thread(target=echo.serve_forever, args=(0.01,), daemon=True).start()
        yield echo
        echo.shutdown()


@pytest.fixture
def network(server):
    network = Network()
    network.link("echo", f"tcp://127.0.0.1:{server.server_address[1]}")
    yield network
    network.stop()


@pytest.fixture
def proxy(network):
    return network.links["echo"]


@contextmanager
def connected(proxy, timeout=3.0):
    with socket.create_connection(("127.0.0.1", proxy.port), timeout) as client:
        yield client


def echoed(client, data=b"ping"):
    client.sendall(data)
    got = b""
    while len(got) < len(data):
        part = client.recv(65536)
        if not part:
            break
        got += part
    return got


def is_silent(client, within=0.2):
    client.settimeout(within)
    try:
        client.recv(1)
    except TimeoutError:
        return True
    finally:
        client.settimeout(3.0)
    return False


def test_fair_weather_carries_everything_both_ways(proxy):
    with connected(proxy) as client:
        assert echoed(client, b"x" * 300_000) == b"x" * 300_000


@pytest.mark.timed
def test_a_slow_link_is_late_by_its_latency_both_ways(network, proxy):
    with connected(proxy) as client:
        echoed(client)
        network.call(proxy.slow, 0.1)
        began = time.monotonic()
        assert echoed(client) == b"ping"
        assert time.monotonic() - began >= 0.2

        network.call(proxy.heal)
        began = time.monotonic()
        echoed(client)
        assert time.monotonic() - began < 0.1


def test_a_thin_link_takes_as_long_as_its_bandwidth_says(network, proxy):
    network.call(proxy.thin, 200_000)
    with connected(proxy) as client:
        began = time.monotonic()
        assert echoed(client, b"x" * 40_000) == b"x" * 40_000
        assert time.monotonic() - began >= 0.4


def test_a_cut_link_holds_bytes_and_delivers_them_late(network, proxy, server):
    with connected(proxy) as client:
        echoed(client)
        network.call(proxy.cut)
        client.sendall(b"held")
        assert is_silent(client)
        assert server.heard == b"ping"

        network.call(proxy.heal)
        assert client.recv(4) == b"held"


def test_a_one_way_cut_lets_the_other_way_pass(network, proxy, server):
    with connected(proxy) as client:
        network.call(proxy.cut, "down")
        client.sendall(b"asked")
        eventually(lambda: server.heard == b"asked")
        assert is_silent(client)

        network.call(proxy.heal)
        assert client.recv(5) == b"asked"


def test_a_deaf_link_delivers_the_request_and_loses_the_reply_for_good(network, proxy, server):
    with connected(proxy) as client:
        network.call(proxy.lose_replies)
        client.sendall(b"asked")
        eventually(lambda: server.heard == b"asked")
        assert is_silent(client)

        network.call(proxy.heal)
        with pytest.raises(ConnectionResetError):
            client.recv(5)
    with connected(proxy) as client:
        assert echoed(client) == b"ping"


def test_a_half_open_link_tells_neither_old_nor_new_connections_until_the_heal(network, proxy, server):
    with connected(proxy) as old:
        echoed(old)
        network.call(proxy.half_open)
        old.sendall(b"anybody?")
        with connected(proxy) as new:
            new.sendall(b"hello?")
            assert is_silent(old)
            assert is_silent(new)
            assert server.heard == b"ping"

            network.call(proxy.heal)
            for client in (old, new):
                with pytest.raises(ConnectionResetError):
                    client.recv(1)
    with connected(proxy) as client:
        assert echoed(client) == b"ping"


def test_a_reset_reaches_open_connections_and_new_ones_until_the_heal(network, proxy):
    with connected(proxy) as client:
        echoed(client)
        network.call(proxy.reset)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with pytest.raises(ConnectionResetError), connected(proxy) as client:
        client.recv(1)

    network.call(proxy.heal)
    with connected(proxy) as client:
        assert echoed(client) == b"ping"
    eventually(lambda: proxy.connections == 0)
