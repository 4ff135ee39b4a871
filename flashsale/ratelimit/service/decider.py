"""Decisions of the RPC service: the limiter's logic over an asynchronous connection."""

from typing import Any

import redis
import redis.asyncio

from flashsale.core.lua import Script
from flashsale.ratelimit.limit import Verdict
from flashsale.ratelimit.limiter import Asked, Decision, Limiter, Question
from flashsale.ratelimit.service.batcher import Batcher
from flashsale.ratelimit.stores.redis_store import DECIDE, arguments, verdict


class AsyncDecider:
    """Gets many decisions from Redis in one round trip. The limiter does caching, failure handling and metrics."""

    def __init__(self, client: "redis.asyncio.Redis", limiter: Limiter) -> None:
        self._client = client
        self._limiter = limiter
        self._batcher: Batcher[Question, Verdict | redis.RedisError] = Batcher(self._trip)

    async def check(self, asked: Asked, cost: int) -> Decision:
        """Like :meth:`Limiter.check`. Does not raise if Redis is down."""
        prepared = self._limiter.prepare(asked, cost)
        if isinstance(prepared, Decision):
            return prepared
        try:
            found = await self._batcher.ask(prepared)
        except (redis.RedisError, OSError) as error:
            return self._limiter.fail(prepared, error)
        if isinstance(found, redis.RedisError):
            return self._limiter.fail(prepared, found)
        return self._limiter.conclude(prepared, found)

    async def _trip(self, questions: list[Question]) -> list[Verdict | redis.RedisError]:
        answers = await self._pipelined(DECIDE, questions)
        if any(isinstance(answer, redis.exceptions.NoScriptError) for answer in answers):
            await self._client.script_load(DECIDE.source)
            answers = await self._pipelined(DECIDE, questions)
        return [answer if isinstance(answer, redis.RedisError) else verdict(answer) for answer in answers]

    async def _pipelined(self, script: Script, questions: list[Question]) -> list[Any]:
        pipe = self._client.pipeline(transaction=False)
        for question in questions:
            checks = question.checks
            keys = [check.key for check in checks]
            pipe.evalsha(script.digest, len(keys), *keys, *arguments(checks, question.cost, "take", None))
        return await pipe.execute(raise_on_error=False)
