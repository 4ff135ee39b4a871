"""PostgreSQL reply timeout of a thread.

A frozen server or a network that drops packets sends nothing, while its kernel may still acknowledge packets. So no timeout of
TCP or libpq ends the wait, and the server's own ``statement_timeout`` does not run either. Psycopg2 lets a callback do the
waiting instead of libpq (``set_wait_callback``). If the callback raises, psycopg2 closes the connection.
"""

import select
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
from django.conf import settings
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE

from flashsale.core.breaker import CircuitBreaker


class NoAnswer(psycopg2.OperationalError):
    """PostgreSQL did not answer within the timeout. The statement may have been executed."""


class _Patience(threading.local):
    seconds: float | None = None
    is_quiet = False


_patience = _Patience()
# Open after a timeout: other threads fail at once instead of waiting for a connection, and one of them probes.
silence = CircuitBreaker(failures=1, open_s=settings.DATABASE_CONNECT_S)


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Set this thread's reply timeout inside the context. A shorter timeout that is already set stays."""
    before = _patience.seconds
    _patience.seconds = min(seconds, _current())
    try:
        yield
    finally:
        _patience.seconds = before


@contextmanager
def quiet_patience(seconds: float) -> Iterator[None]:
    """Like :func:`patience`, for background work: its timeouts do not open the circuit breaker for requests."""
    _patience.is_quiet = True
    try:
        with patience(seconds):
            yield
    finally:
        _patience.is_quiet = False


def _current() -> float:
    return settings.DATABASE_PATIENCE_S if _patience.seconds is None else _patience.seconds


def wait(connection: Any) -> None:
    """Psycopg2's wait callback: blocks until the connection is ready.

    Raises:
        NoAnswer: the timeout has passed.
    """
    deadline = time.monotonic() + _current()
    while (state := connection.poll()) != POLL_OK:
        events = {POLL_READ: select.POLLIN, POLL_WRITE: select.POLLOUT}[state]
        poller = select.poll()
        poller.register(connection.fileno(), events)
        if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
            if not _patience.is_quiet:
                silence.failed()
            raise NoAnswer(f"no answer from PostgreSQL within {_current():g} s")
