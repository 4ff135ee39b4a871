"""The customer of a request, read from the signed session without a query."""

from dataclasses import dataclass

from django.contrib.auth import SESSION_KEY
from django.http import HttpRequest

from flashsale.accounts.sessions import NAME


@dataclass(frozen=True, slots=True)
class Visitor:
    """A signed-in customer."""

    id: str
    name: str


def visitor_of(request: HttpRequest) -> Visitor | None:
    """The signed-in customer, or None."""
    user = request.session.get(SESSION_KEY)
    return None if user is None else Visitor(str(user), str(request.session.get(NAME, "")))
