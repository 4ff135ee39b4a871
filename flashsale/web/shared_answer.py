"""An answer that is worked out once for all who ask in the same moment."""

import threading
import time
from collections.abc import Callable
from functools import wraps

from django.http import HttpRequest, HttpResponse, HttpResponseBase

View = Callable[[HttpRequest], HttpResponse]


def shared_for(seconds: Callable[[], float], view: View) -> View:
    """``view``, whose answer to GET and HEAD holds for everybody for so long; who comes while it is worked out waits for it.

    Args:
        seconds: how long, asked at each request; 0 for not at all.
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
