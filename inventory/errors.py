"""Why the gate or the ledger says no."""

from flashsale.core.errors import Invalid, Refused, Unavailable


class GateUnavailable(Unavailable):
    """Orders cannot be taken right now; please try again in a moment."""


class GateMissing(Refused):
    """The sale is being prepared; please try again in a moment."""

    code = "paused"


class NotOpen(Refused):
    """The sale has not opened yet."""

    code = "not_open"


class Paused(Refused):
    """The sale is paused."""

    code = "paused"


class Ended(Refused):
    """The sale has ended."""

    code = "ended"


class SoldOut(Refused):
    """Sold out."""

    code = "sold_out"


class TicketLapsed(Refused):
    """This ticket is unknown, has been used, or was not asked about for too long; please ask for a new one."""

    code = "ticket_lapsed"


class TokenInvalid(Refused):
    """The purchase token is unknown, has expired, or was issued for something else."""

    code = "token_invalid"


class TokenUsed(Refused):
    """The purchase token has been used."""

    code = "token_used"


class LimitPerCustomer(Refused):
    """You have reached the number of units one customer may buy."""

    code = "limit_per_customer"


class QuantityOver(Invalid):
    """The quantity is over what one customer may buy."""

    def __init__(self) -> None:
        super().__init__(errors={"quantity": ["Over what one customer may buy."]})


class TooManyUnpaid(Refused):
    """You have left too many orders of this item unpaid; you may not order it again."""

    code = "too_many_unpaid"


class PriceChanged(Refused):
    """The price is not the one you were shown; nothing was ordered."""

    code = "price_changed"

    def __init__(self, *, unit_price: str) -> None:
        """
        Args:
            unit_price: what one unit would cost.
        """
        super().__init__()
        self.members = {"unit_price": unit_price}


class Busy(Refused):
    """More orders are waiting than can be handled; please try again in a moment."""

    code = "busy"


class IdempotencyMismatch(Refused):
    """This source and seq were sent before with another request."""

    code = "idempotency_mismatch"


class SeqTaken(Refused):
    """This source and seq are taken."""

    code = "seq_taken"


class UnknownSale(Refused):
    """There is no such sale."""

    code = "not_found"


class UnknownItem(Refused):
    """The sale has no such item."""

    code = "not_found"


class NotEnoughStock(Refused):
    """There are not that many units left to take away."""

    code = "not_enough_stock"


class ConcurrentReservation(Unavailable):
    """The same orders are being reserved by another worker."""


class TermsChanged(Unavailable):
    """The item's terms were changed meanwhile; please try again."""
