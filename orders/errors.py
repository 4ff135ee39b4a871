"""Why an order cannot do what was asked."""

from flashsale.core.errors import NotFound, Refused


class OrderNotFound(NotFound):
    """There is no such order."""


class NotPayable(Refused):
    """The order cannot be paid in its present state."""

    code = "not_payable"


class NotCancellable(Refused):
    """The order cannot be cancelled in its present state."""

    code = "not_cancellable"
