"""Granian's entry point for customers: the express lane in an event loop, and Django behind it in threads."""

from typing import Any

from a2wsgi import WSGIMiddleware
from django.conf import settings

from flashsale.wsgi import application as _wsgi  # isort: skip - sets Django up

from flashsale.web.express import ExpressLane, body
from flashsale.web.express.body import Receive
from flashsale.web.express.lane import Send
from flashsale.web.express.request import Scope

_django: Any = WSGIMiddleware(_wsgi, workers=settings.WEB_THREADS)  # type: ignore[arg-type]


async def django(scope: Scope, receive: Receive, send: Send) -> None:
    """Let Django answer the request in a thread. The body is read first, so that no thread waits for a client.

    Django cannot tell ``X_Forwarded_For`` from ``X-Forwarded-For``, so header names with underscores do not reach it.
    """
    if scope["type"] != "http":
        return
    found = await body.read(receive, settings.MAX_BODY_BYTES)
    if found is None:
        return
    scope, receive = body.again(found, scope, receive)
    headers = [header for header in scope["headers"] if b"_" not in header[0]]
    await _django({**scope, "headers": headers}, receive, send)


application = ExpressLane(django) if settings.EXPRESS_LANE else django
