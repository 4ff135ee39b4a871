"""Share one pipelined round trip to Redis between concurrent calls. Calls during a round trip use the next one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Question = TypeVar("Question")
Reply = TypeVar("Reply")


class Batcher(Generic[Question, Reply]):
    """At most ``most`` questions per round trip. For one event loop."""

    def __init__(self, ask: Callable[[list[Question]], Awaitable[list[Reply]]], *, most: int = 200) -> None:
        """
        Args:
            ask: takes the questions of a round trip and returns their replies in order. Its exception is raised for each of
                them.
        """
        self._ask = ask
        self._most = most
        self._waiting: list[tuple[Question, asyncio.Future[Reply]]] = []
        self._runner: asyncio.Task[None] | None = None

    async def ask(self, question: Question) -> Reply:
        """The reply to a question."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        if self._runner is None:
            self._runner = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                trip, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                try:
                    replies = await self._ask([question for question, _ in trip])
                except Exception as error:
                    for _, future in trip:
                        if not future.done():
                            future.set_exception(error)
                    continue
                for (_, future), reply in zip(trip, replies, strict=True):
                    if not future.done():
                        future.set_result(reply)
        finally:
            self._runner = None
