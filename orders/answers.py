"""What customers are answered who order or look at an order: the same for every way in."""

from typing import Any
from uuid import UUID

from flashsale.web.answer import Answer
from tasks import intake

_ADDRESS = "/api/v1/orders/{}/"


def place(customer: int, values: dict[str, Any]) -> Answer:
    """Order: 202 means that the units are the customer's and the order will not be lost. May run twice.

    Args:
        values: the fields of ``OrderRequest``, validated.

    Raises:
        FlashsaleError: no order was made now.
    """
    admission = intake.place_order(customer, intake.OrderRequest(**values))
    address = _ADDRESS.format(admission.order_id)
    headers, values = {"Location": address}, {"id": str(admission.order_id), "status": "queued", "status_url": address}
    if admission.replayed:
        headers["Idempotency-Replayed"] = "true"
        status = intake.status_of(customer, admission.order_id)
        if status is None:  # it cannot be said now, and it may be past queued
            del values["status"]
        else:
            values["status"] = status
    return Answer(values, 202, headers)


def one(customer: int, order_id: UUID) -> Answer:
    """The order as it stands.

    Raises:
        OrderNotFound, OrderInDoubt: it cannot be shown.
    """
    return Answer(intake.order_of(customer, order_id))
