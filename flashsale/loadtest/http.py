"""An HTTP/1.1 client that costs tens of microseconds per request, so it can share a machine with the server that it measures.

It uses one thread, epoll and keep-alive connections. Requests come from generators ("scripts"). A script yields a request,
receives the answer, and yields the next request. Latency counts from a request's due time, so that a late client does not
hide a slow server (coordinated omission).
"""

import heapq
import select
import socket
import time
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

_RECEIVE_BYTES = 65_536
_LONGEST_WAIT_S = 0.2
NO_ANSWER = 0


class Answer(NamedTuple):
    """``status`` 0: no answer in time, or the connection was lost. ``head`` and ``body``: as received."""

    status: int
    head: bytes
    body: bytes
    latency_s: float


class Request(NamedTuple):
    """``kind``: label in the statistics. ``after_s``: delay before sending, in seconds, not part of the latency."""

    kind: str
    data: bytes
    after_s: float = 0.0


Script = Generator[Request, Answer, None]


@dataclass(slots=True)
class Totals:
    """Latencies by kind of request, the client's own maximal lateness, and CPU and wall time, all in seconds."""

    latencies_s: dict[str, list[float]] = field(default_factory=dict)
    late_s: float = 0.0
    cpu_s: float = 0.0
    took_s: float = 0.0


class _Connection:
    __slots__ = ("due", "expires", "kind", "received", "script", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = b""
        self.script: Script | None = None
        self.kind = ""
        self.due = 0.0
        self.expires = 0.0


class Client:
    """Run scripts against one address."""

    def __init__(self, host: str, port: int, *, connections: int, timeout_s: float = 20.0, offset: int = 0) -> None:
        """
        Args:
            offset: a different number per client, 0 to 200, so that each has its own loopback addresses.
            connections: maximum number of open connections. Waiting for a free one counts as latency.
            timeout_s: timeout of a request, in seconds after it is sent.
        """
        self._address = host, port
        self._most = connections
        self._timeout_s = timeout_s
        self._offset = offset
        self._opened = 0
        self._poller = select.epoll()
        self._free: list[_Connection] = []
        self._busy: dict[int, _Connection] = {}
        self._ready: deque[tuple[float, Script, Request]] = deque()
        self._timers: list[tuple[float, int, Script, Request]] = []
        self._count = 0
        self.totals = Totals()

    def play(self, arrivals: Iterator[tuple[float, Script]], *, began: float | None = None) -> Totals:
        """Start each script at its time and run until all have ended.

        Args:
            arrivals: pairs of seconds since ``began`` and a script, in order of time.
            began: start in ``time.monotonic()``. Default: now.
        """
        start = time.monotonic() if began is None else began
        cpu = time.process_time()
        coming = next(arrivals, None)
        checked = start
        while coming or self._busy or self._ready or self._timers:
            now = time.monotonic()
            while coming and start + coming[0] <= now:
                self.totals.late_s = max(self.totals.late_s, now - start - coming[0])
                self._begin(start + coming[0], coming[1])
                coming = next(arrivals, None)
            while self._timers and self._timers[0][0] <= now:
                due, _, script, request = heapq.heappop(self._timers)
                self._ready.append((due, script, request))
            self._send_ready()
            if now - checked > 1.0:
                checked = now
                self._expire(now)
            self._receive(self._wait_s(start, coming))
        self.totals.cpu_s = time.process_time() - cpu
        self.totals.took_s = time.monotonic() - start
        self._close()
        return self.totals

    def _wait_s(self, start: float, coming: tuple[float, Script] | None) -> float:
        until = time.monotonic() + _LONGEST_WAIT_S
        if coming:
            until = min(until, start + coming[0])
        if self._timers:
            until = min(until, self._timers[0][0])
        return max(0.0, until - time.monotonic())

    def _begin(self, due: float, script: Script) -> None:
        request = next(script, None)
        if request is not None:
            self._schedule(due, script, request)

    def _schedule(self, due: float, script: Script, request: Request) -> None:
        if request.after_s:
            self._count += 1
            heapq.heappush(self._timers, (due + request.after_s, self._count, script, request))
        else:
            self._ready.append((due, script, request))

    def _send_ready(self) -> None:
        while self._ready:
            connection = self._free.pop() if self._free else self._open()
            if connection is None:
                return
            due, script, request = self._ready.popleft()
            now = time.monotonic()
            connection.script, connection.kind, connection.due = script, request.kind, due
            connection.expires, connection.received = now + self._timeout_s, b""
            self._busy[connection.sock.fileno()] = connection
            try:
                connection.sock.sendall(request.data)
            except OSError:
                self._lose(connection, now)

    def _open(self) -> _Connection | None:
        if len(self._busy) + len(self._free) >= self._most:
            return None
        try:
            sock = socket.create_connection(self._address, timeout=self._timeout_s, source_address=self._source())
        except OSError:
            self._refused()
            return None
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._poller.register(sock.fileno(), select.EPOLLIN)
        return _Connection(sock)

    def _source(self) -> tuple[str, int] | None:
        """On loopback each connection has its own address, like separate buyers."""
        if not self._address[0].startswith("127."):
            return None
        self._opened += 1
        return f"127.{1 + self._offset}.{self._opened // 250 % 250}.{self._opened % 250 + 1}", 0

    def _refused(self) -> None:
        """Nothing listens: fail the first waiting request."""
        due, script, request = self._ready.popleft()
        self._answered(script, request.kind, Answer(NO_ANSWER, b"", b"", time.monotonic() - due))

    def _receive(self, wait_s: float) -> None:
        for number, _ in self._poller.poll(wait_s):
            connection = self._busy.get(number)
            if connection is None:
                self._forget(number)
                continue
            try:
                data = connection.sock.recv(_RECEIVE_BYTES)
            except OSError:
                data = b""
            now = time.monotonic()
            if not data:
                self._lose(connection, now)
                continue
            connection.received += data
            self._read(number, connection, now)

    def _read(self, number: int, connection: _Connection, now: float) -> None:
        head, end, body = connection.received.partition(b"\r\n\r\n")
        if not end:
            return
        lower = head.lower()
        mark = lower.find(b"content-length:")
        if mark < 0:
            if not body.endswith(b"0\r\n\r\n"):
                return
        elif len(body) < int(lower[mark + 15 : lower.find(b"\r", mark) if lower.find(b"\r", mark) > 0 else None]):
            return
        del self._busy[number]
        script, kind = connection.script, connection.kind
        if b"connection: close" in lower:
            self._drop(connection)
        else:
            self._free.append(connection)
        assert script is not None
        self._answered(script, kind, Answer(int(head[9:12]), head, body, now - connection.due))

    def _answered(self, script: Script, kind: str, answer: Answer) -> None:
        self.totals.latencies_s.setdefault(kind, []).append(answer.latency_s)
        try:
            request = script.send(answer)
        except StopIteration:
            return
        if request.after_s:
            self._schedule(time.monotonic(), script, request)
        else:  # like buyers with their own connections, they do not wait for another's
            self._ready.appendleft((time.monotonic(), script, request))

    def _expire(self, now: float) -> None:
        for connection in [each for each in self._busy.values() if each.expires < now]:
            self._lose(connection, now)

    def _lose(self, connection: _Connection, now: float) -> None:
        self._busy.pop(connection.sock.fileno(), None)
        script, kind = connection.script, connection.kind
        self._drop(connection)
        assert script is not None
        self._answered(script, kind, Answer(NO_ANSWER, b"", b"", now - connection.due))

    def _forget(self, number: int) -> None:
        """The server has closed an idle connection."""
        for connection in [each for each in self._free if each.sock.fileno() == number]:
            self._free.remove(connection)
            self._drop(connection)

    def _drop(self, connection: _Connection) -> None:
        self._poller.unregister(connection.sock.fileno())
        connection.sock.close()

    def _close(self) -> None:
        for connection in self._free:
            self._drop(connection)
        self._poller.close()
