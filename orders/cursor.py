"""Where a page of a customer's orders begins: opaque to clients, and good for that customer only."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from uuid import UUID

from django.core.signing import BadSignature, Signer

from flashsale.core.errors import Invalid


def _signer(customer: int) -> Signer:
    return Signer(salt=f"orders before, of {customer}")


def dump(customer: int, order_id: UUID) -> str:
    """The cursor of the orders older than this one."""
    return _signer(customer).sign(urlsafe_b64encode(order_id.bytes).decode().rstrip("="))


def load(customer: int, cursor: str) -> UUID:
    """
    Raises:
        Invalid: not a cursor of this customer's.
    """
    try:
        return UUID(bytes=urlsafe_b64decode(_signer(customer).unsign(cursor) + "=="))
    except (BadSignature, ValueError) as error:
        raise Invalid(errors={"cursor": ["Not a cursor of your orders."]}) from error
