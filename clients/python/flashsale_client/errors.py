"""What a call can end with instead of its result. One class for each code of the API's problem documents."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from flashsale_client.models import Order, OrderRequest, Place


class FlashsaleError(Exception):
    """Base class of every error that this package raises."""

    code: str = "error"
    retry_after: float | None = None  # seconds after which the same call may succeed
    is_temporary: bool = False  # the same request may succeed later
    may_have_acted: bool = False  # the request may have taken effect all the same
    is_final: bool = False  # it also answers an earlier, unanswered try of the same request

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.earlier: tuple[FlashsaleError, ...] = ()  # of the tries before the last one, oldest first


class NoAnswer(FlashsaleError):
    """The server could not be reached, or its answer was lost."""

    code = "no_answer"
    is_temporary = True

    def __init__(self, detail: str, *, was_sent: bool) -> None:
        """
        Args:
            detail: what went wrong.
            was_sent: whether the request may have reached the server.
        """
        super().__init__(detail)
        self.may_have_acted = was_sent


class BadAnswer(FlashsaleError):
    """The answer is not one of this API: another server has given it, or a later version."""

    code = "bad_answer"
    may_have_acted = True


class DeadlineExceeded(FlashsaleError):
    """The call reached its deadline."""

    code = "deadline_exceeded"


class StillWaiting(DeadlineExceeded):
    """The customer is still in line. Call again within two minutes: the place is kept."""

    def __init__(self, place: Place) -> None:
        super().__init__(f"Still in line, at position {place.position}.")
        self.place = place


class OrderNotFinal(DeadlineExceeded):
    """The order has not reached the wanted status yet."""

    def __init__(self, order: Order) -> None:
        super().__init__(f"The order is still {order.status}.")
        self.order = order


class OrderInDoubt(FlashsaleError):
    """The order may have been placed; its answer was lost. ``place_order(error.request)`` finds out and never orders twice."""

    code = "order_in_doubt"
    may_have_acted = True

    def __init__(self, request: OrderRequest) -> None:
        super().__init__("The order may have been placed. Repeat the same request.")
        self.request = request


class Problem(FlashsaleError):
    """The server refused the request. An unknown code is raised as this class."""

    is_final = True

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        code: str | None = None,
        retry_after: float | None = None,
        errors: Mapping[str, Any] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        """
        Args:
            status: the HTTP status.
            detail: the message for the customer.
            code: the stable code; default: the class's.
            retry_after: seconds after which the same request may succeed.
            errors: field name -> messages.
            members: the whole problem document.
        """
        super().__init__(detail)
        self.status = status
        self.code = code or type(self).code
        self.retry_after = retry_after
        self.errors = dict(errors or {})
        self.members = dict(members or {})
        self.is_temporary = status in (408, 429) or status >= 500
        self.may_have_acted = status >= 500 and self.code != "busy"

    def __str__(self) -> str:
        fields = f" {self.errors}" if self.errors else ""
        return f"{self.code}: {self.detail}{fields}"


class Invalid(Problem):
    """The request is not valid; ``errors`` names the fields."""

    code = "invalid"


class NotAuthenticated(Problem):
    """The credentials are missing, wrong or expired, or the account is blocked."""

    code = "not_authenticated"
    is_final = False


class PermissionDenied(Problem):
    """The customer may not do this."""

    code = "permission_denied"
    is_final = False


class Forbidden(Problem):
    """The gateway does not allow this request."""

    code = "forbidden"
    is_final = False


class NotFound(Problem):
    """There is no such sale, item or order, or it belongs to somebody else."""

    code = "not_found"


class TicketLapsed(Problem):
    """The place in line is gone. Ask for a purchase token again."""

    code = "ticket_lapsed"


class SoldOut(Problem):
    """Sold out."""

    code = "sold_out"


class NotOpen(Problem):
    """The sale has not opened yet."""

    code = "not_open"


class Paused(Problem):
    """The sale is paused, or is being prepared."""

    code = "paused"
    is_final = False


class Ended(Problem):
    """The sale has ended."""

    code = "ended"


class TokenInvalid(Problem):
    """The purchase token is unknown, expired or somebody else's."""

    code = "token_invalid"


class TokenUsed(Problem):
    """The purchase token has been used."""

    code = "token_used"


class LimitPerCustomer(Problem):
    """The customer holds as many units as one customer may buy."""

    code = "limit_per_customer"


class TooManyUnpaid(Problem):
    """The customer left too many orders of this item unpaid."""

    code = "too_many_unpaid"


class PriceChanged(Problem):
    """The price is not the ``unit_price`` that was sent. No order was placed."""

    code = "price_changed"

    @property
    def unit_price(self) -> Decimal:
        """The present price of a unit."""
        return Decimal(self.members["unit_price"])


class IdempotencyMismatch(Problem):
    """The same source and seq were sent with another request."""

    code = "idempotency_mismatch"


class SeqTaken(Problem):
    """Another customer's order has this source and seq."""

    code = "seq_taken"


class NotPayable(Problem):
    """The order cannot be paid in its present state."""

    code = "not_payable"


class NotCancellable(Problem):
    """The order cannot be cancelled in its present state."""

    code = "not_cancellable"


class NoActionNeeded(Problem):
    """The payment does not wait for the customer."""

    code = "no_action_needed"


class PaymentAttemptsExhausted(Problem):
    """The order takes no more attempts to pay it."""

    code = "payment_attempts_exhausted"


class TooManyPayments(Problem):
    """Too many payments of this customer have failed."""

    code = "too_many_payments"


class RateLimited(Problem):
    """Too many requests."""

    code = "rate_limited"


class Busy(Problem):
    """Too many orders or sign-ins are waiting."""

    code = "busy"


class Unavailable(Problem):
    """A part of the shop is unavailable for the moment."""

    code = "unavailable"


class Locked(Unavailable):
    """Another process works on the same thing."""

    code = "locked"


class TooLarge(Problem):
    """The body is too large."""

    code = "too_large"


class HeadersTooLarge(Problem):
    """The address or the headers are too long."""

    code = "headers_too_large"


class RequestTimeout(Problem):
    """The request took too long to arrive."""

    code = "timeout"


class MethodNotAllowed(Problem):
    """The address does not take this method."""

    code = "method_not_allowed"


class NotAcceptable(Problem):
    """The server has no such format."""

    code = "not_acceptable"


class UnsupportedMediaType(Problem):
    """The server does not read this format."""

    code = "unsupported_media_type"


class InternalError(Problem):
    """The server failed."""

    code = "internal"


def _below(kind: type[Problem]) -> list[type[Problem]]:
    return [kind, *(each for child in kind.__subclasses__() for each in _below(child))]


PROBLEMS: dict[str, type[Problem]] = {kind.code: kind for kind in _below(Problem)[1:]}
