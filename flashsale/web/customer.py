"""The customer of a request."""

from rest_framework.exceptions import NotAuthenticated
from rest_framework.request import Request


def customer_id(request: Request) -> int:
    """The customer's id, from the access token or the session, without a query.

    Raises:
        NotAuthenticated: the token has no user.
    """
    try:
        return int(request.user.pk)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise NotAuthenticated from error
