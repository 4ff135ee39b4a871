"""Customer actions on an order: change it in PostgreSQL, then enqueue the follow-up."""

from uuid import UUID

from flashsale.core import messages
from orders import placement, services
from orders.errors import NoActionNeeded, NotCancellable, NotPayable, OrderNotFound
from payments import services as payments


def pay(customer: int, order_id: UUID, method: str) -> dict[str, object]:
    """Pay for an order. May run twice.

    Raises:
        OrderNotFound, NotPayable, Invalid: nothing was changed.
    """
    try:
        payment = services.pay(order_id, customer, method)
    except OrderNotFound as error:
        placement.order_of(customer, order_id)
        raise NotPayable(retry_after=1) from error
    if payment is not None:
        messages.publish("tasks.charge_payments", [str(payment)])
    return placement.order_of(customer, order_id)


def payment_action(customer: int, order_id: UUID) -> dict[str, str]:
    """What the customer has to do so that the provider takes the money. Asks the provider.

    Raises:
        OrderNotFound, NoActionNeeded, ProviderUnavailable: it cannot be said.
    """
    placement.order_of(customer, order_id)
    action = payments.action_of(order_id)
    if action is None:
        raise NoActionNeeded
    return {"url": action.url, "client_secret": action.client_secret}


def cancel(customer: int, order_id: UUID) -> dict[str, object]:
    """Cancel an unpaid order. May run twice.

    Raises:
        OrderNotFound, NotCancellable: nothing was changed.
    """
    try:
        services.cancel(order_id, customer)
    except OrderNotFound as error:
        placement.order_of(customer, order_id)
        raise NotCancellable(retry_after=1) from error
    messages.publish("tasks.apply_effects")
    return placement.order_of(customer, order_id)
