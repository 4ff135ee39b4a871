"""Errors of sales, stock and admission."""

from flashsale.core.errors import Invalid, Refused, Unavailable


class GateUnavailable(Unavailable):
    """Orders are temporarily unavailable. Try again in a moment."""


class GateMissing(Refused):
    """The sale is being prepared. Try again in a moment."""

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
    """This ticket is unknown, used or expired. Request a new one."""

    code = "ticket_lapsed"


class TokenInvalid(Refused):
    """The purchase token is unknown, has expired, or was issued to another customer."""

    code = "token_invalid"


class TokenUsed(Refused):
    """This purchase token has already been used."""

    code = "token_used"


class LimitPerCustomer(Refused):
    """You have reached the limit per customer for this item."""

    code = "limit_per_customer"


class QuantityOver(Invalid):
    """The quantity exceeds the limit per customer."""

    def __init__(self) -> None:
        super().__init__(errors={"quantity": ["Exceeds the limit per customer."]})


class TooManyUnpaid(Refused):
    """You left too many orders of this item unpaid. You cannot order it again."""

    code = "too_many_unpaid"


class PriceChanged(Refused):
    """The price has changed. No order was placed."""

    code = "price_changed"

    def __init__(self, *, unit_price: str) -> None:
        """
        Args:
            unit_price: the current price of one unit.
        """
        super().__init__()
        self.members = {"unit_price": unit_price}


class Busy(Refused):
    """Too many orders are waiting. Try again in a moment."""

    code = "busy"


class IdempotencyMismatch(Refused):
    """This (source, seq) was used for a different request."""

    code = "idempotency_mismatch"


class SeqTaken(Refused):
    """This (source, seq) is already in use."""

    code = "seq_taken"


class UnknownSale(Refused):
    """Sale not found."""

    code = "not_found"


class UnknownItem(Refused):
    """The sale has no item with this SKU."""

    code = "not_found"


class NotEnoughStock(Refused):
    """Not enough available units."""

    code = "not_enough_stock"


class ConcurrentReservation(Unavailable):
    """Another worker is reserving the same orders."""


class TermsChanged(Unavailable):
    """The item's terms have changed in the meantime. Try again."""
