"""Importing this module registers every task and the start-up checks of workers."""

from tasks import reconcile_payments, sweeps
from tasks.steps import cancel_unpaid, create_orders, deduct_inventory, dispatch, gate_effects, request_payments
from tasks.worker import connections, heartbeat

__all__ = [
    "cancel_unpaid",
    "connections",
    "create_orders",
    "deduct_inventory",
    "dispatch",
    "gate_effects",
    "heartbeat",
    "reconcile_payments",
    "request_payments",
    "sweeps",
]
