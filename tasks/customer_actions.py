"""What a customer does to an order: the ledger decides, the queue carries on."""

from uuid import UUID

from flashsale.core import messages
from orders import services
from orders.errors import NotCancellable, NotPayable, OrderNotFound
from tasks import intake


def pay(customer: int, order_id: UUID, method: str) -> dict[str, object]:
    """Ask for the money of an order. May run twice.

    Raises:
        OrderNotFound, NotPayable, Invalid: nothing happened.
    """
    try:
        payment = services.pay(order_id, customer, method)
    except OrderNotFound as error:
        intake.order_of(customer, order_id)
        raise NotPayable(retry_after=1) from error
    if payment is not None:
        messages.publish("tasks.charge_payments", [str(payment)])
    return intake.order_of(customer, order_id)


def cancel(customer: int, order_id: UUID) -> dict[str, object]:
    """Cancel an order that is not paid. May run twice.

    Raises:
        OrderNotFound, NotCancellable: nothing happened.
    """
    try:
        services.cancel(order_id, customer)
    except OrderNotFound as error:
        intake.order_of(customer, order_id)
        raise NotCancellable(retry_after=1) from error
    messages.publish("tasks.apply_effects")
    return intake.order_of(customer, order_id)
