"""Sends tasks by name, and makes no caller wait for the broker longer than ``WAIT_S``.

One thread of each process does all the sending, on a connection of its own. A caller waits for it at most ``WAIT_S`` seconds,
whatever the broker does: refuses, swallows packets, or accepts a connection and says nothing. Once somebody has waited in vain
the others do not; one of them tries again every second.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from celery import current_app
from kombu.exceptions import OperationalError

from flashsale.core.breaker import CircuitBreaker
from flashsale.core.metrics import MESSAGES_NOT_SENT

logger = logging.getLogger(__name__)
VERSION = 1  # the newest message format that this release reads, and the one that it writes; 1 if a message has none
WAIT_S = 0.15  # promised are 0.2 s: a request may have waited for the limits on the same server already
_OPEN_S = 1.0  # from a wait in vain to the next try
_TRANSPORT = {
    "socket_connect_timeout": WAIT_S,  # of Redis
    "socket_timeout": WAIT_S,
    "read_timeout": WAIT_S,  # of RabbitMQ
    "write_timeout": WAIT_S,
    "max_retries": 0,
    "connect_retries_timeout": WAIT_S,
}
MessageNotSent = OperationalError
T = TypeVar("T")


def stamped(args: Sequence[Any], given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The headers of a message.

    ``v``: the version of its format. ``units``: its number of orders, which the pace of a queue is in; those of its arguments,
    else as given, else 1. ``published``: when, in microseconds; those who give messages back keep their order by it.
    """
    orders = max((len(value) for value in args if isinstance(value, list)), default=0)
    return {"v": VERSION, "units": 1, **(given or {}), "published": time.time_ns() // 1000} | (
        {"units": orders} if orders else {}
    )


def publish(name: str, *args: Any, **options: Any) -> bool:
    """Send a message that may be lost; whether it was sent for sure. Never raises.

    Args:
        name: of the task.
        options: of ``apply_async``, such as ``eta``.
    """
    try:
        send(name, *args, **options)
    except MessageNotSent:
        return False
    return True


def send(name: str, *args: Any, **options: Any) -> None:
    """Like :func:`publish`, for who has to know.

    Raises:
        MessageNotSent: it may have been sent all the same, later or twice.
    """
    headers = stamped(args, options.pop("headers", None))

    def put(producer: Any) -> None:
        current_app.send_task(name, args=args, headers=headers, producer=producer, retry=False, ignore_result=True, **options)

    _told(name, put)


def send_chain(chain: Any) -> None:
    """Send the first step of a Celery chain.

    Raises:
        MessageNotSent: it may have been sent all the same.
    """
    _told(chain.tasks[0].task, lambda producer: chain.apply_async(producer=producer, retry=False))


def waiting_in(queue: str) -> int:
    """How many messages of a queue nobody has taken.

    Raises:
        MessageNotSent: the broker cannot be asked now.
    """

    def ask(producer: Any) -> int:
        broker = producer.connection
        try:
            return int(broker.default_channel.queue_declare(queue, passive=True).message_count)
        except broker.channel_errors:  # Redis knows no queue that is empty
            broker.close()
            return 0

    return _sender.run(ask)


def _told(name: str, put: Callable[[Any], object]) -> None:
    try:
        _sender.run(put)
    except MessageNotSent as error:
        MESSAGES_NOT_SENT.labels(name).inc()
        logger.warning("message not sent", extra={"event": "message_not_sent", "task": name, "error": repr(error)})
        raise


class _Sender:
    """The sending thread and its connection; a forked process gets its own."""

    def __init__(self) -> None:
        self._breaker = CircuitBreaker(failures=1, open_s=_OPEN_S)
        self._lock = threading.Lock()
        self._thread: ThreadPoolExecutor | None = None
        self._producer: Any = None

    def run(self, work: Callable[[Any], T]) -> T:
        """Do this with a producer.

        Raises:
            MessageNotSent: not done in time; it may be done later.
        """
        if not self._breaker.may_ask():
            raise MessageNotSent("the broker has not answered just now")
        job = self._executor().submit(self._work, work)
        try:
            done = job.result(WAIT_S)
        except TimeoutError as error:
            job.cancel()
            self._breaker.failed()
            raise MessageNotSent(f"no answer from the broker within {WAIT_S} s") from error
        except MessageNotSent:
            self._breaker.failed()
            raise
        self._breaker.succeeded()
        return done

    def _executor(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="messages")
            return self._thread

    def _work(self, work: Callable[[Any], T]) -> T:
        """In the thread: once more on a new connection if the old one has died unnoticed."""
        is_new = self._producer is None
        try:
            return self._try(work)
        except MessageNotSent:
            if is_new:
                raise
        return self._try(work)

    def _try(self, work: Callable[[Any], T]) -> T:
        try:
            if self._producer is None:
                broker = current_app.connection_for_write(connect_timeout=WAIT_S, transport_options=_TRANSPORT)
                self._producer = current_app.amqp.Producer(broker, auto_declare=False)
            return work(self._producer)
        except Exception as error:  # of kombu, of either client library, and AttributeError on a channel that was lost
            self._close()
            raise MessageNotSent(repr(error)) from error

    def _close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                producer.connection.collapse()
            except Exception as error:  # it was broken before
                logger.debug("broker's connection not closed", extra={"error": repr(error)})


_sender = _Sender()


def _start_anew() -> None:
    global _sender
    _sender = _Sender()


os.register_at_fork(after_in_child=_start_anew)
