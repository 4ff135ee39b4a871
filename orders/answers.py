"""Answers to order requests, shared by the express lane and the API views."""

from functools import partial
from typing import Any
from uuid import UUID

from flashsale.core.steps import Blocking, Steps
from flashsale.web.answer import Answer
from orders import placement

_ADDRESS = "/api/v1/orders/{}/"


def place(customer: int, values: dict[str, Any]) -> Steps[Answer]:
    """Place an order. 202 means that the units are reserved and the order will not be lost. May run twice.

    Args:
        values: validated fields of ``OrderRequest``.

    Raises:
        FlashsaleError: the order was not placed.
    """
    admission = yield from placement.placing(customer, placement.OrderRequest(**values))
    address = _ADDRESS.format(admission.order_id)
    headers, values = {"Location": address}, {"id": str(admission.order_id), "status": "queued", "status_url": address}
    if admission.replayed:
        headers["Idempotency-Replayed"] = "true"
        status = yield Blocking(partial(placement.status_of, customer, admission.order_id))
        if status is None:  # unknown now; the order may already be past "queued"
            del values["status"]
        else:
            values["status"] = status
    return Answer(values, 202, headers)


def one(customer: int, order_id: UUID) -> Steps[Answer]:
    """The order's current state.

    Raises:
        OrderNotFound: the customer has no such order.
        OrderInDoubt: the state is temporarily unavailable.
    """
    found = yield Blocking(partial(placement.order_of, customer, order_id))
    return Answer(found)
