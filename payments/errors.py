"""Why a payment is not tried."""

from flashsale.core.errors import Refused


class PaymentAttemptsExhausted(Refused):
    """This order takes no more attempts to pay it."""

    code = "payment_attempts_exhausted"


class TooManyPayments(Refused):
    """Too many payments of yours have failed; please try again later."""

    code = "too_many_payments"
