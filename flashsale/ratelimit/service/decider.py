"""Decisions for the RPC service: the limiter's own rules of conduct, over an asynchronous connection."""

from typing import Any

import redis
import redis.asyncio

from flashsale.core.lua import Script
from flashsale.ratelimit.limit import Check, Verdict
from flashsale.ratelimit.limiter import Asked, Decision, Limiter
from flashsale.ratelimit.redis_store import DECIDE, arguments, verdict
from flashsale.ratelimit.service.batcher import Batcher

_Question = tuple[list[Check], int]


class AsyncDecider:
    """Asks Redis for many decisions in one trip, and the limiter for everything else: refusals it knows, what to do
    without Redis, counters."""

    def __init__(self, client: "redis.asyncio.Redis", limiter: Limiter) -> None:
        self._client = client
        self._limiter = limiter
        self._batcher: Batcher[_Question, Verdict] = Batcher(self._trip)

    async def check(self, asked: Asked, cost: int) -> Decision:
        """As :meth:`Limiter.check`. Never raises because Redis is gone."""
        prepared = self._limiter.prepare(asked, cost)
        if isinstance(prepared, Decision):
            return prepared
        checks, cost = prepared
        try:
            found = await self._batcher.ask((checks, cost))
        except (redis.RedisError, OSError) as error:
            return self._limiter.fail(asked, cost, error)
        return self._limiter.conclude(asked, cost, found)

    async def _trip(self, questions: list[_Question]) -> list[Verdict]:
        answers = await self._pipelined(DECIDE, questions)
        if any(isinstance(answer, redis.exceptions.NoScriptError) for answer in answers):
            await self._client.script_load(DECIDE.source)
            answers = await self._pipelined(DECIDE, questions)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return [verdict(answer) for answer in answers]

    async def _pipelined(self, script: Script, questions: list[_Question]) -> list[Any]:
        pipe = self._client.pipeline(transaction=False)
        for checks, cost in questions:
            keys = [check.key for check in checks]
            pipe.evalsha(script.digest, len(keys), *keys, *arguments(checks, cost, "take", None))
        return await pipe.execute(raise_on_error=False)
