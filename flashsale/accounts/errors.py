"""Errors of signing in."""

from flashsale.core.errors import Refused, Unavailable


class AccountEnded(Refused):
    """This account cannot be used."""

    code = "not_authenticated"


class CredentialRefused(Refused):
    """Your session has ended. Sign in again."""

    code = "not_authenticated"


class SignInBusy(Unavailable):
    """Too many people are signing in. Try again in a moment."""

    code = "busy"
