"""What a flow asks of the client that runs it. Flows do no input or output, so one text serves threads and event loops."""

import random
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, TypeAlias, TypeVar
from urllib.parse import parse_qs, quote, urlsplit

from flashsale_client.errors import PROBLEMS, BadAnswer, FlashsaleError, NoAnswer, Problem


class Deadline:
    """So many seconds from now, on the monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left; 0 afterwards."""
        return max(0.0, self._at - time.monotonic())


@dataclass(frozen=True)
class Request:
    """One HTTP request, to be answered or given up within ``timeout`` seconds."""

    method: str
    path: str
    timeout: float
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    params: Mapping[str, str] = field(default_factory=dict)
    access: str | None = field(default=None, repr=False)

    def headers(self) -> dict[str, str]:
        """The headers beside those of httpx."""
        return {"Accept": "application/json"} | ({"Authorization": f"Bearer {self.access}"} if self.access else {})


@dataclass(frozen=True)
class Pause:
    """Wait for so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Renew:
    """Run ``Session.renew`` unless another thread or task has just replaced ``stale``."""

    stale: str | None


@dataclass(frozen=True)
class Answer:
    """A complete HTTP answer with a JSON body."""

    status: int
    data: Any
    headers: Mapping[str, str]
    next_url: str | None = None

    @property
    def retry_after(self) -> float | None:
        """Seconds, of the Retry-After header, which may be a date."""
        text = self.headers.get("retry-after", "")
        if text.isdecimal():
            return float(text)
        try:
            return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
        except (ValueError, OverflowError):
            return None

    def next_cursor(self) -> str | None:
        """Of the page that the Link header names; the address itself is not followed, so no other server gets the token."""
        return parse_qs(urlsplit(self.next_url or "").query).get("cursor", [None])[0]


Result = TypeVar("Result")
Step: TypeAlias = Request | Pause | Renew
Flow: TypeAlias = Generator[Step, Any, Result]


def jittered(seconds: float) -> float:
    """About so many seconds, so that many clients do not come back at once."""
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311  # no secret


def path(*parts: str) -> str:
    """A path below the API's root, with every part quoted.

    Raises:
        ValueError: a part would lead to another path.
    """
    if any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"Not part of an address: {parts!r}")
    return "/".join(quote(part, safe="") for part in parts) + "/"


def read(kind: Callable[[Any], Result], data: Any) -> Result:
    """What ``kind`` makes of an answer's data.

    Raises:
        BadAnswer: something else was expected.
    """
    try:
        return kind(data)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise BadAnswer(f"Not an answer of this API: {error!r}") from error


def error_of(outcome: Answer | NoAnswer) -> FlashsaleError | None:
    """The error that an outcome is, if it is one."""
    if isinstance(outcome, NoAnswer):
        return outcome
    if 200 <= outcome.status < 300:
        return None
    data = outcome.data if isinstance(outcome.data, dict) else {}
    errors = data.get("errors")
    code = str(data.get("code", f"http_{outcome.status}"))
    return PROBLEMS.get(code, Problem)(
        outcome.status,
        str(data.get("detail", f"The server answered with HTTP status {outcome.status}.")),
        code=code,
        retry_after=outcome.retry_after,
        errors=errors if isinstance(errors, dict) else {},
        members=data,
    )
