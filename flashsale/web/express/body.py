"""Reading a request's body in the event loop, so that a slow client holds no thread."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


async def read(receive: Receive, most: int) -> tuple[bytes, bool] | None:
    """The body, and whether it is whole; None when the client has gone.

    Args:
        most: stop after so many bytes; the last chunk may go past it.
    """
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
            return b"".join(chunks), is_whole


def again(body: bytes, is_whole: bool, receive: Receive) -> Receive:
    """A ``receive`` for whoever reads the body after us."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": not is_whole}]

    async def receive_again() -> Message:
        return waiting.pop() if waiting else await receive()

    return receive_again
