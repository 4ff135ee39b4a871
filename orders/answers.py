"""Answers to order requests, shared by the express lane and the API views."""

from typing import Any
from uuid import UUID

from flashsale.web.answer import Answer
from tasks import intake

_ADDRESS = "/api/v1/orders/{}/"


def place(customer: int, values: dict[str, Any]) -> Answer:
    """Place an order. 202 means that the units are reserved and the order will not be lost. May run twice.

    Args:
        values: validated fields of ``OrderRequest``.

    Raises:
        FlashsaleError: the order was not placed.
    """
    admission = intake.place_order(customer, intake.OrderRequest(**values))
    address = _ADDRESS.format(admission.order_id)
    headers, values = {"Location": address}, {"id": str(admission.order_id), "status": "queued", "status_url": address}
    if admission.replayed:
        headers["Idempotency-Replayed"] = "true"
        status = intake.status_of(customer, admission.order_id)
        if status is None:  # unknown now; the order may already be past "queued"
            del values["status"]
        else:
            values["status"] = status
    return Answer(values, 202, headers)


def one(customer: int, order_id: UUID) -> Answer:
    """The order's current state.

    Raises:
        OrderNotFound: the customer has no such order.
        OrderInDoubt: the state is temporarily unavailable.
    """
    return Answer(intake.order_of(customer, order_id))
