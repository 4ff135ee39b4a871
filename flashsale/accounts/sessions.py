"""Browser sessions in a signed cookie. Reading them needs no query. Used as ``SESSION_ENGINE``."""

from typing import Any
from uuid import uuid4

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends import signed_cookies
from django.core import signing
from django.db import transaction

from flashsale.accounts import revoke
from flashsale.accounts.denials import denials
from flashsale.accounts.instants import issue_us
from flashsale.core.clock import now, to_us

NAME, SESSION, ISSUED_US = "name", "sid", "iat_us"


class SessionStore(signed_cookies.SessionStore):
    """A session stored in its cookie. A user's session is refused after its revocation or its maximum age."""

    def load(self) -> dict[str, Any]:
        """The session's data. Empty if the cookie is invalid or expired."""
        found: dict[str, Any] = super().load()
        if SESSION_KEY in found and not is_good(found):
            self.create()  # same as for a wrong signature
            return {}
        return found

    def _get_session_key(self) -> str:
        """The cookie's value. Not compressed, because the gateway identifies customers by its first characters."""
        return signing.dumps(
            self._session,  # type: ignore[attr-defined]
            salt="django.contrib.sessions.backends.signed_cookies",
            serializer=self.serializer,
            compress=False,
        )

    def cycle_key(self) -> None:
        """Renew the time of issue, so that the session survives a password change by its user."""
        if SESSION_KEY in self:
            with transaction.atomic():
                self[ISSUED_US] = issue_us(int(self[SESSION_KEY]))
        super().cycle_key()

    def flush(self) -> None:
        """Sign out and revoke the session, so that a copy of the cookie becomes invalid."""
        name = self.get(SESSION)
        if name:
            revoke.session(name)
        super().flush()


def start(session: Any, user: Any) -> None:
    """Initialise the session of a user who has just signed in.

    Raises:
        AccountEnded: the account was blocked or deleted, or its password was changed in the meantime.
    """
    with transaction.atomic():
        issued = issue_us(user.pk, password=user.password)
    session[NAME], session[SESSION], session[ISSUED_US] = user.get_username(), uuid4().hex, issued


def is_good(found: dict[str, Any]) -> bool:
    user, issued, name = found[SESSION_KEY], found.get(ISSUED_US), found.get(SESSION)
    if not str(user).isdecimal() or not isinstance(issued, int) or not isinstance(name, str):
        return False
    age_us = to_us(now()) - issued
    return age_us < settings.SESSION_COOKIE_AGE * 1_000_000 and not denials().refuses(int(user), issued, name)
