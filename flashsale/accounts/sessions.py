"""Browser sessions that are signed, not looked up: the cookie says who it is, and nobody has to be asked.

``SESSION_ENGINE`` names this module.
"""

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
    """A session in its cookie. One of a user is refused once it is revoked, whoever kept a copy, and at its full age."""

    def load(self) -> dict[str, Any]:
        """The content; empty when the cookie is none of ours, or its time is over."""
        found: dict[str, Any] = super().load()
        if SESSION_KEY in found and not is_good(found):
            self.create()  # as for a cookie with a wrong signature
            return {}
        return found

    def _get_session_key(self) -> str:
        """The cookie. Not compressed: it begins alike for one user, which is what the gateway tells customers apart by."""
        return signing.dumps(
            self._session,  # type: ignore[attr-defined]
            salt="django.contrib.sessions.backends.signed_cookies",
            serializer=self.serializer,
            compress=False,
        )

    def cycle_key(self) -> None:
        """A new instant of issue, for a session that outlives a change of its user's password."""
        if SESSION_KEY in self:
            with transaction.atomic():
                self[ISSUED_US] = issue_us(int(self[SESSION_KEY]))
        super().cycle_key()

    def flush(self) -> None:
        """Sign out: a copy of the cookie is good for nothing from now on."""
        name = self.get(SESSION)
        if name:
            revoke.session(name)
        super().flush()


def start(session: Any, user: Any) -> None:
    """Fill the session of a user who has just signed in.

    Raises:
        AccountEnded: the account was blocked, deleted or given another password meanwhile.
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
