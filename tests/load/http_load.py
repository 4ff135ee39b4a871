"""A load generator on bare sockets: it costs far less than who answers, so both may share a machine."""

import selectors
import socket
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

_RECEIVE = 65_536


@dataclass
class Load:
    """What came back: seconds of every answer, from when its request was due, and how often each status."""

    took_s: float = 0.0
    client_cpu_s: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: Counter = field(default_factory=Counter)
    bodies: list[bytes] = field(default_factory=list)

    @property
    def per_s(self) -> float:
        return len(self.latencies) / self.took_s

    def percentile_ms(self, part: int) -> float:
        ordered = sorted(self.latencies)
        return round(1000 * ordered[min(len(ordered) - 1, len(ordered) * part // 100)], 2)


class _Connection:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due = 0.0
        self._received = b""

    def send(self, request: bytes, due: float) -> None:
        self.due, self._received = due, b""
        self.socket.sendall(request)

    def answer(self) -> tuple[int, bytes] | None:
        """Status and body once the answer is whole."""
        data = self.socket.recv(_RECEIVE)
        assert data, "the connection was closed"
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return None
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        return (int(head[9:12]), body) if len(body) >= length else None


def drive(port: int, requests: Iterator[bytes], *, seconds: float, connections: int, rate: float | None = None) -> Load:
    """Sends requests one after the other on each connection, for so long or until they run out.

    Args:
        rate: requests/s, evenly spaced; one that finds no connection free counts from when it was due. Left out, each
            connection sends as soon as it was answered.
    """
    selector = selectors.DefaultSelector()
    free = deque(_Connection(port) for _ in range(connections))
    for connection in free:
        selector.register(connection.socket, selectors.EVENT_READ, connection)
    found, sent, more = Load(), 0, True
    cpu, began = time.process_time(), time.perf_counter()
    while more or len(free) < connections:
        moment = time.perf_counter()
        more = more and moment - began < seconds
        while more and free and (rate is None or began + sent / rate <= moment):
            request = next(requests, None)
            if request is None:
                more = False
                break
            free.popleft().send(request, moment if rate is None else began + sent / rate)
            sent += 1
        wait = max(0.0, began + sent / rate - moment) if rate and more and free else 1.0
        for key, _ in selector.select(wait):
            answer = key.data.answer()
            if answer:
                found.latencies.append(time.perf_counter() - key.data.due)
                found.statuses[answer[0]] += 1
                found.bodies.append(answer[1])
                free.append(key.data)
    found.took_s = time.perf_counter() - began
    found.client_cpu_s = time.process_time() - cpu
    for connection in free:
        connection.socket.close()
    selector.close()
    return found
