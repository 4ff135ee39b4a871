"""Services that change orders. Each runs one transaction, is idempotent, and works on sets of rows.

Lock order everywhere: orders by id, then payments, then the item's row.
"""

from orders.services.cancellation import cancel, cancel_by_staff, cancel_unpaid
from orders.services.creation import Created, create, leave_unread, put_off, stale_intake
from orders.services.evidence import can_never_fit
from orders.services.intake import deduct, lose, reject
from orders.services.outbox import Effect, forget_effects, lock_effects
from orders.services.payment import apply_answers, pay, refund_by_staff, request_payments, stale_reserved

__all__ = [
    "Created",
    "Effect",
    "apply_answers",
    "can_never_fit",
    "cancel",
    "cancel_by_staff",
    "cancel_unpaid",
    "create",
    "deduct",
    "forget_effects",
    "leave_unread",
    "lock_effects",
    "lose",
    "pay",
    "put_off",
    "refund_by_staff",
    "reject",
    "request_payments",
    "stale_intake",
    "stale_reserved",
]
