"""Decide which requests the express lane takes, and answer them."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.conf import settings
from django.db import close_old_connections, connection

from flashsale.core.database.patience import patience
from flashsale.core.errors import FlashsaleError
from flashsale.core.joined_trips import Threads, drive
from flashsale.web.express import body, calls, reply
from flashsale.web.express.body import Message, Receive
from flashsale.web.express.credentials import customer_of
from flashsale.web.express.request import Request, Scope, common
from flashsale.web.middleware import queue_wait

Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
_THREADS = 4  # for calls to PostgreSQL
_NOTHING = body.Body(b"", is_whole=True, took_s=0.0)
_ASIDES = 2  # for calls without a waiting client: the broker may be frozen while PostgreSQL answers, and vice versa


class ExpressLane:
    """ASGI application in front of Django's. It works in the event loop. Only calls that may block run in threads."""

    def __init__(self, django: Application) -> None:
        self._django = django
        self.threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="express")
        self._beside = Threads(self._in_thread, ThreadPoolExecutor(_ASIDES, thread_name_prefix="aside").submit)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or pass it to Django."""
        call = calls.find(scope["method"], scope["path"]) if scope["type"] == "http" else None
        request = common(scope) if call is not None else None
        if request is not None and request.is_late:
            return await _answer(send, reply.late(queue_wait.refusal()))
        customer = customer_of(request) if request is not None else None
        if call is None or request is None or customer is None:
            return await self._django(scope, receive, send)
        found = await body.read(receive, settings.MAX_BODY_BYTES) if request.length else _NOTHING
        if found is None:
            return None
        values = call.prepare(found.content)
        if values is None:
            return await self._django(*body.again(found, scope, receive), send)
        answer = await self._answered(call, customer, values, request)
        return await _answer(send, answer)

    def _in_thread(self, work: Callable[[], Any]) -> Awaitable[Any]:
        return asyncio.get_running_loop().run_in_executor(self.threads, _patiently, work)

    async def _answered(self, call: calls.Call, customer: int, values: Any, request: Request) -> reply.Reply:
        limits: dict[str, str] = {}
        is_by_token = b"authorization" in request.headers
        shared = reply.Common(call.allow, "origin" if is_by_token else "Cookie, origin")
        try:
            limits = await drive(calls.pass_limits(call, customer, request), self._beside)
            found = await drive(call.act(customer, values), self._beside)
            return reply.success(found, shared, limits)
        except FlashsaleError as error:
            return reply.refusal(error, shared, limits)
        except Exception as error:
            return reply.failure(error, shared, limits)


async def _answer(send: Send, answer: reply.Reply) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    await send({"type": "http.response.body", "body": answer.body})


def _patiently(work: Callable[[], Any]) -> Any:
    """Run this with a timeout for PostgreSQL, and close a connection that has failed."""
    try:
        with patience(settings.DATABASE_REQUEST_PATIENCE_S):
            return work()
    finally:
        if connection.connection is not None:
            close_old_connections()
