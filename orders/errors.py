"""Why an order cannot do what was asked."""

from flashsale.core.errors import NotFound, Refused, Unavailable


class OrderNotFound(NotFound):
    """There is no such order."""


class OrderInDoubt(Unavailable):
    """Nothing can be said of this order right now; please try again in a moment."""


class NotPayable(Refused):
    """The order cannot be paid in its present state."""

    code = "not_payable"


class NotCancellable(Refused):
    """The order cannot be cancelled in its present state."""

    code = "not_cancellable"


class TermsUnknown(Refused):
    """The order was admitted under terms that the ledger does not know."""

    code = "terms_unknown"
