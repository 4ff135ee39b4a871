"""The states of an order and the allowed transitions."""

from django.db.models import TextChoices


class OrderStatus(TextChoices):
    """Order states. ``queued`` is never stored in PostgreSQL: the order is in Redis only."""

    QUEUED = "queued"
    RESERVED = "reserved"
    PENDING_PAYMENT = "pending_payment"
    PAID = "paid"
    REFUNDED = "refunded"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


TRANSITIONS: dict[OrderStatus, frozenset[OrderStatus]] = {
    OrderStatus.QUEUED: frozenset({OrderStatus.RESERVED, OrderStatus.REJECTED}),
    OrderStatus.RESERVED: frozenset({OrderStatus.PENDING_PAYMENT, OrderStatus.CANCELLED}),
    OrderStatus.PENDING_PAYMENT: frozenset({OrderStatus.PAID, OrderStatus.CANCELLED}),
    OrderStatus.PAID: frozenset({OrderStatus.REFUNDED}),
    OrderStatus.REFUNDED: frozenset(),
    OrderStatus.CANCELLED: frozenset(),
    OrderStatus.REJECTED: frozenset(),
}


def sources_of(target: OrderStatus) -> list[OrderStatus]:
    """The states that have a transition to ``target``."""
    return [source for source, targets in TRANSITIONS.items() if target in targets]
