"""Pagination cursors for a customer's orders: signed, and valid for that customer only."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from uuid import UUID

from django.core.signing import BadSignature, Signer

from flashsale.core.errors import Invalid


def _signer(customer: int) -> Signer:
    return Signer(salt=f"orders before, of {customer}")


def dump(customer: int, order_id: UUID) -> str:
    """The cursor of the page that starts after this order."""
    return _signer(customer).sign(urlsafe_b64encode(order_id.bytes).decode().rstrip("="))


def load(customer: int, cursor: str) -> UUID:
    """
    Raises:
        Invalid: the cursor is malformed or was issued to another customer.
    """
    try:
        return UUID(bytes=urlsafe_b64decode(_signer(customer).unsign(cursor) + "=="))
    except (BadSignature, ValueError) as error:
        raise Invalid(errors={"cursor": ["This cursor is not valid. Start again without a cursor."]}) from error
