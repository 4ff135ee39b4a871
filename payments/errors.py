"""Errors of payments."""

from flashsale.core.errors import Refused


class PaymentAttemptsExhausted(Refused):
    """This order has reached the limit of payment attempts."""

    code = "payment_attempts_exhausted"


class TooManyPayments(Refused):
    """Too many of your payments have failed. Try again later."""

    code = "too_many_payments"
