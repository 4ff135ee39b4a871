"""The error tree: one class for each thing a caller does differently, each with a stable code.

The docstring of a leaf class is the sentence that a customer reads. Which HTTP status a code gets is decided
in ``flashsale.edge.error_handler`` and nowhere else.
"""

from typing import Any


class FlashsaleError(Exception):
    """Something went wrong."""

    code = "error"

    def __init__(self, detail: str | None = None, *, retry_after: float | None = None, **context: Any) -> None:
        """
        Args:
            detail: the sentence for the customer; the class's docstring when left out.
            retry_after: seconds after which the same request may succeed.
            context: plain values for the log, never shown to the customer.
        """
        self.detail = detail or (type(self).__doc__ or "").strip().splitlines()[0]
        self.retry_after = retry_after
        self.context = context
        self.members: dict[str, str] = {}  # of the answer, beside those that every error has
        super().__init__(self.detail)


class Refused(FlashsaleError):
    """The request was understood and refused."""

    code = "refused"


class Unavailable(FlashsaleError):
    """A part of the shop cannot be reached; please try again in a moment."""

    code = "unavailable"


class RateLimited(Refused):
    """Too many requests; please try again in a moment."""

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
            detail: the sentence for the customer.
            retry_after: seconds after which the same request may pass.
            headers: of the answer, where the limit was not decided by the throttle.
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
            detail: the sentence for the customer.
            errors: field name -> what is wrong with it.
            context: plain values for the log.
        """
        super().__init__(detail, **context)
        self.errors = errors or {}


class NotFound(Refused):
    """There is nothing here."""

    code = "not_found"
