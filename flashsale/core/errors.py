"""The error classes. There is one class for each case that callers handle differently, with a stable code.

The docstring of a leaf class is the message for the customer. ``error_handler`` alone decides the HTTP status of a code.
"""

from typing import Any


class FlashsaleError(Exception):
    """Something went wrong."""

    code = "error"

    def __init__(self, detail: str | None = None, *, retry_after: float | None = None, **context: Any) -> None:
        """
        Args:
            detail: the message for the customer; default: the class's docstring.
            retry_after: seconds after which the same request may succeed.
            context: plain values for the log, never shown to the customer.
        """
        self.detail = detail or (type(self).__doc__ or "").strip().splitlines()[0]
        self.retry_after = retry_after
        self.context = context
        self.members: dict[str, str] = {}  # additional members of the problem document
        super().__init__(self.detail)


class Refused(FlashsaleError):
    """The request was understood and refused."""

    code = "refused"


class Unavailable(FlashsaleError):
    """A part of the shop is temporarily unavailable. Try again in a moment."""

    code = "unavailable"


class RateLimited(Refused):
    """Too many requests. Try again in a moment."""

    code = "rate_limited"

    def __init__(
        self,
        detail: str | None = None,
        *,
        retry_after: float | None = None,
        headers: dict[str, str] | None = None,
        **context: Any,
    ) -> None:
        """
        Args:
            detail: the message for the customer.
            retry_after: seconds after which the same request may pass.
            headers: response headers, if the throttle did not set them.
            context: plain values for the log.
        """
        super().__init__(detail, retry_after=retry_after, **context)
        self.headers = headers or {}


class Invalid(FlashsaleError):
    """The request is not valid."""

    code = "invalid"

    def __init__(self, detail: str | None = None, *, errors: dict[str, list[str]] | None = None, **context: Any) -> None:
        """
        Args:
            detail: the message for the customer.
            errors: field name -> error messages.
            context: plain values for the log.
        """
        super().__init__(detail, **context)
        self.errors = errors or {}


class NotFound(Refused):
    """Not found."""

    code = "not_found"
