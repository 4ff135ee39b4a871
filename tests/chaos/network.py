"""The event loop that carries the proxies and the clients, in a thread of its own, beside whoever breaks things."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from tests.chaos.proxy import Proxy

T = TypeVar("T")
_PATIENCE_S = 10


class Network:
    """``links``: server name -> the proxy in front of it."""

    def __init__(self) -> None:
        self.links: dict[str, Proxy] = {}
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="network", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Start work on the loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call a method of a proxy, and wait until it is done."""

        async def invoke() -> T:
            return function(*args, **kwargs)

        return self.run(invoke()).result(_PATIENCE_S)

    def link(self, name: str, url: str) -> str:
        """Put a proxy in front of an address; returns the address of the proxy."""
        parts = urlsplit(url)
        self.links[name] = Proxy(name, str(parts.hostname), int(parts.port or 0))
        port = self.run(self.links[name].start()).result(_PATIENCE_S)
        return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{port}")))

    def stop(self) -> None:
        """End the proxies and the thread."""
        for proxy in self.links.values():
            self.run(proxy.stop()).result(_PATIENCE_S)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_PATIENCE_S)
