"""How long a thread waits for PostgreSQL to say something.

A server that stands still, or a network that swallows packets, is silent: its kernel may go on acknowledging, so no time-out
of TCP or libpq ends the wait, and the server's own ``statement_timeout`` stands still with it. Psycopg2 lets its caller do the
waiting instead of libpq (``set_wait_callback``); when that raises, it closes the connection.
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
    """PostgreSQL said nothing for as long as the caller had patience; what was asked may have been done."""


class _Patience(threading.local):
    seconds: float | None = None
    is_quiet = False


_patience = _Patience()
# Open once somebody has waited in vain: the others do not queue up for a connection behind it, one of them tries.
silence = CircuitBreaker(failures=1, open_s=settings.DATABASE_CONNECT_S)


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Within the block this thread waits for an answer at most so many seconds, or less where it was less already."""
    before = _patience.seconds
    _patience.seconds = min(seconds, _current())
    try:
        yield
    finally:
        _patience.seconds = before


@contextmanager
def quiet_patience(seconds: float) -> Iterator[None]:
    """Like :func:`patience`, for work beside the requests: that it has waited in vain keeps no request from asking."""
    _patience.is_quiet = True
    try:
        with patience(seconds):
            yield
    finally:
        _patience.is_quiet = False


def _current() -> float:
    return settings.DATABASE_PATIENCE_S if _patience.seconds is None else _patience.seconds


def wait(connection: Any) -> None:
    """Psycopg2's wait callback: blocks until the connection is done with what it is at.

    Raises:
        NoAnswer: it was not, in time.
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
