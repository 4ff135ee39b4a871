"""Authentication backend of the API, the storefront and the admin."""

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from flashsale.accounts import names
from flashsale.accounts.hashing import seats


class OneAccountPerName(ModelBackend):
    """Django's backend with case-insensitive names and a limit of concurrent password checks."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **_: Any
    ) -> Any | None:
        """The account, None when name or password is wrong.

        Raises:
            SignInBusy: too many sign-ins are running; the password was not checked.
        """
        if username is None or password is None:
            return None
        with seats.taken():
            account = names.find(username)
            if account is None:
                get_user_model()().set_password(password)  # takes as long as for an existing name
                return None
            return account if account.check_password(password) and self.user_can_authenticate(account) else None
