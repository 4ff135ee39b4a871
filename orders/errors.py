"""Errors of order operations."""

from flashsale.core.errors import NotFound, Refused, Unavailable


class OrderNotFound(NotFound):
    """Order not found."""


class OrderInDoubt(Unavailable):
    """The order's status is temporarily unavailable. Try again in a moment."""


class NotPayable(Refused):
    """This order cannot be paid in its current state."""

    code = "not_payable"


class NoActionNeeded(Refused):
    """The payment of this order does not wait for the customer."""

    code = "no_action_needed"


class NotCancellable(Refused):
    """This order cannot be cancelled in its current state."""

    code = "not_cancellable"


class TermsUnknown(Refused):
    """The order refers to a version of the item's terms that is not in PostgreSQL."""

    code = "terms_unknown"
