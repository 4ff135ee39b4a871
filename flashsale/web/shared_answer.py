"""Responses that concurrent requests share."""

import threading
import time
from collections.abc import Callable
from functools import wraps

from django.http import HttpRequest, HttpResponse, HttpResponseBase

View = Callable[[HttpRequest], HttpResponse]


def shared_for(seconds: Callable[[], float], view: View) -> View:
    """Wrap ``view`` so that its response to GET and HEAD is shared by all requests for a while. Concurrent requests wait for
    it.

    Args:
        seconds: returns how long a response is shared; called for each request; 0 disables sharing.
    """
    lock = threading.Lock()
    kept: list[tuple[float, HttpResponse]] = []

    def current() -> HttpResponse | None:
        if kept and time.monotonic() - kept[0][0] < seconds():
            return kept[0][1]
        return None

    @wraps(view)
    def answer(request: HttpRequest) -> HttpResponseBase:
        if request.method not in ("GET", "HEAD"):
            return view(request)
        with lock:
            found = current()
            if found is None:
                found = view(request)
                kept[:] = [(time.monotonic(), found)]
        return HttpResponse(found.content, status=found.status_code, headers=dict(found.items()))

    return answer  # type: ignore[return-value]
