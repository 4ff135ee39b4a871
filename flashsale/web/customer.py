"""Who is asking."""

from rest_framework.exceptions import NotAuthenticated
from rest_framework.request import Request


def customer_id(request: Request) -> int:
    """The customer's number: from the access token without a query, or from the session.

    Raises:
        NotAuthenticated: the token names nobody.
    """
    try:
        return int(request.user.pk)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise NotAuthenticated from error
