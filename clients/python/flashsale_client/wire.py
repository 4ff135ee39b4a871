"""From a request of a flow to httpx, and from httpx's response to an answer."""

import json
from typing import Any

import httpx

from flashsale_client.errors import NoAnswer
from flashsale_client.steps import Answer, Request

API = "/api/v1/"
LONGEST_BODY_BYTES = 16 * 1024 * 1024
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


def api_url(base_url: str) -> httpx.URL:
    """The API's root at the shop's address.

    Raises:
        ValueError: the address is not one of http or https.
    """
    url = httpx.URL(base_url.rstrip("/") + API)
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"Not the address of a shop: {base_url!r}")
    return url


def arguments(request: Request) -> dict[str, Any]:
    """httpx's arguments for the request."""
    return {
        "method": request.method,
        "url": request.path,
        "json": request.body,
        "params": request.params or None,
        "headers": request.headers(),
        "timeout": request.timeout,
    }


def lost(error: Exception) -> NoAnswer:
    """The outcome of a request that httpx gave up."""
    return NoAnswer(f"No answer: {type(error).__name__}: {error}", was_sent=not isinstance(error, _NOT_SENT))


def too_large() -> NoAnswer:
    """The outcome of a response without an end."""
    return NoAnswer(f"The answer is over {LONGEST_BODY_BYTES} bytes.", was_sent=True)


def too_slow() -> NoAnswer:
    """The outcome of a response that was not complete in time."""
    return NoAnswer("The answer was not complete in time.", was_sent=True)


def answer_of(response: httpx.Response, body: bytes) -> Answer | NoAnswer:
    """The answer of a response whose body has been read; success without JSON is not the shop's answer."""
    try:
        data = json.loads(body)
    except ValueError:
        if response.is_success:
            return NoAnswer("The answer is not JSON.", was_sent=True)
        data = None
    next_url = response.links.get("next", {}).get("url")
    return Answer(response.status_code, data, response.headers, next_url)
