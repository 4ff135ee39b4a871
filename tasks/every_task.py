"""Importing this module registers every task and the start-up checks of workers."""

from tasks import (
    cancel_unpaid,
    connections,
    create_orders,
    deduct_inventory,
    dispatch,
    gate_effects,
    heartbeat,
    reconcile_payments,
    request_payments,
    sweeps,
)

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
