"""Why somebody is not signed in."""

from flashsale.core.errors import Refused, Unavailable


class AccountEnded(Refused):
    """This account cannot be used."""

    code = "not_authenticated"


class CredentialRefused(Refused):
    """This sign-in has ended; please sign in again."""

    code = "not_authenticated"


class SignInBusy(Unavailable):
    """Many people are signing in; please try again in a moment."""

    code = "busy"
