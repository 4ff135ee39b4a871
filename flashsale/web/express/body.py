"""Read a request's body in the event loop, so that a slow client blocks no thread."""

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple

from flashsale.web.express.request import Scope
from flashsale.web.middleware import queue_wait

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


class Body(NamedTuple):
    """``took_s``: how long the client took to send the body, in seconds."""

    content: bytes
    is_whole: bool
    took_s: float


async def read(receive: Receive, most: int) -> Body | None:
    """Read the body. Returns None if the client has disconnected.

    Args:
        most: stop after this many bytes. The last chunk may exceed it.
    """
    began = time.monotonic()
    chunks: list[bytes] = []
    length = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunks.append(message.get("body", b""))
        length += len(chunks[-1])
        is_whole = not message.get("more_body", False)
        if is_whole or length >= most:
            return Body(b"".join(chunks), is_whole, time.monotonic() - began)


def again(body: Body, scope: Scope, receive: Receive) -> tuple[Scope, Receive]:
    """``scope`` and ``receive`` for the next reader of the body. The time to send the body does not count as waiting."""
    waiting: list[Message] = [{"type": "http.request", "body": body.content, "more_body": not body.is_whole}]

    async def receive_again() -> Message:
        return waiting.pop() if waiting else await receive()

    headers = [
        (name, queue_wait.later(value, body.took_s) if name == b"x-request-start" else value)
        for name, value in scope["headers"]
    ]
    return {**scope, "headers": headers}, receive_again
