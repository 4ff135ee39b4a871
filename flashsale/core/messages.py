"""Send tasks by name. No caller waits for the broker longer than ``WAIT_S``.

One thread per process sends all messages on its own connection. A caller waits at most ``WAIT_S`` seconds for it, even if the
broker drops packets or accepts a connection without answering. After a timeout other callers fail at once, and one of them
tries again every second.
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
VERSION = 1  # the message format that this release writes, and the newest that it reads; 1 if a message has none
WAIT_S = 0.15  # below the promised 0.2 s, because a request may also have waited for the limits on the same server
_OPEN_S = 1.0  # time from a timeout to the next attempt
_TRANSPORT = {
    "socket_connect_timeout": WAIT_S,  # Redis
    "socket_timeout": WAIT_S,
    "read_timeout": WAIT_S,  # RabbitMQ
    "write_timeout": WAIT_S,
    "max_retries": 0,
    "connect_retries_timeout": WAIT_S,
}
MessageNotSent = OperationalError
T = TypeVar("T")


def stamped(args: Sequence[Any], given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The headers of a message.

    ``v``: the format version. ``units``: the number of orders, which the queue's pace counts; taken from the arguments, else
    from ``given``, else 1. ``published``: time in microseconds, which keeps returned messages in order.
    """
    orders = max((len(value) for value in args if isinstance(value, list)), default=0)
    return {"v": VERSION, "units": 1, **(given or {}), "published": time.time_ns() // 1000} | (
        {"units": orders} if orders else {}
    )


def publish(name: str, *args: Any, **options: Any) -> bool:
    """Send a message that may be lost. Returns whether it was certainly sent. Never raises.

    Args:
        name: name of the task.
        options: options of ``apply_async``, such as ``eta``.
    """
    try:
        send(name, *args, **options)
    except MessageNotSent:
        return False
    return True


def send(name: str, *args: Any, **options: Any) -> None:
    """Like :func:`publish`, but raises on failure.

    Raises:
        MessageNotSent: no confirmation in time; the message may still be sent, later or twice.
    """
    headers = stamped(args, options.pop("headers", None))

    def put(producer: Any) -> None:
        current_app.send_task(name, args=args, headers=headers, producer=producer, retry=False, ignore_result=True, **options)

    _told(name, put)


def send_chain(chain: Any) -> None:
    """Send the first step of a Celery chain.

    Raises:
        MessageNotSent: no confirmation in time; the message may still be sent.
    """
    _told(chain.tasks[0].task, lambda producer: chain.apply_async(producer=producer, retry=False))


def waiting_in(queue: str) -> int:
    """Number of waiting messages in a queue.

    Raises:
        MessageNotSent: the broker did not answer in time.
    """

    def ask(producer: Any) -> int:
        broker = producer.connection
        try:
            return int(broker.default_channel.queue_declare(queue, passive=True).message_count)
        except broker.channel_errors:  # in Redis an empty queue does not exist
            broker.close()
            return 0

    return _sender.run(ask)


def _told(name: str, put: Callable[[Any], object]) -> None:
    try:
        _sender.run(put)
    except MessageNotSent as error:
        MESSAGES_NOT_SENT.labels(name).inc()
        logger.warning("message could not be sent", extra={"event": "message_not_sent", "task": name, "error": repr(error)})
        raise


class _Sender:
    """The sending thread and its connection. A forked process creates its own."""

    def __init__(self) -> None:
        self._breaker = CircuitBreaker(failures=1, open_s=_OPEN_S)
        self._lock = threading.Lock()
        self._thread: ThreadPoolExecutor | None = None
        self._producer: Any = None

    def run(self, work: Callable[[Any], T]) -> T:
        """Run ``work`` with a producer.

        Raises:
            MessageNotSent: not finished in time; it may still finish later.
        """
        if not self._breaker.may_ask():
            raise MessageNotSent("the broker did not answer a moment ago")
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
        """Run in the thread. Retries once on a new connection, because the old one may have been closed."""
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
        except Exception as error:  # errors of kombu and both client libraries; AttributeError on a lost channel
            self._close()
            raise MessageNotSent(repr(error)) from error

    def _close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                producer.connection.collapse()
            except Exception as error:  # the connection was already broken
                logger.debug("broker connection could not be closed", extra={"error": repr(error)})


_sender = _Sender()


def _start_anew() -> None:
    global _sender
    _sender = _Sender()


os.register_at_fork(after_in_child=_start_anew)
