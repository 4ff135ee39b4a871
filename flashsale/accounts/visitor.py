"""Who looks at a page: what the signed session says, without a query."""

from dataclasses import dataclass

from django.contrib.auth import SESSION_KEY
from django.http import HttpRequest

from flashsale.accounts.sessions import NAME


@dataclass(frozen=True, slots=True)
class Visitor:
    """A customer who is signed in."""

    id: str
    name: str


def visitor_of(request: HttpRequest) -> Visitor | None:
    """The customer whose session this is, None for a visitor who is not signed in."""
    user = request.session.get(SESSION_KEY)
    return None if user is None else Visitor(str(user), str(request.session.get(NAME, "")))
