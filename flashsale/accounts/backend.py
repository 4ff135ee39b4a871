"""Checks name and password, for the API's sign-in, the shop's and the staff's alike."""

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from flashsale.accounts import names
from flashsale.accounts.hashing import seats


class OneAccountPerName(ModelBackend):
    """Django's backend for names that are one regardless of case, with a bound on the checks that run at once."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **_: Any
    ) -> Any | None:
        """The account, None when name or password is wrong.

        Raises:
            SignInBusy: too many others are signing in; nothing was looked at.
        """
        if username is None or password is None:
            return None
        with seats.taken():
            account = names.find(username)
            if account is None:
                get_user_model()().set_password(password)  # takes as long as for a name that exists
                return None
            return account if account.check_password(password) and self.user_can_authenticate(account) else None
