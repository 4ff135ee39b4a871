"""A customer's state in a sale, for a reloaded page."""

from collections.abc import Mapping
from typing import Any

from django.db import Error

from flashsale.core.database.patience import patience
from inventory import selectors as inventory
from inventory.admission import gate, waiting_room
from orders import holds, selectors

_NEWEST = 10
_LEDGER_S = 1.0  # timeout of the PostgreSQL part


def of_customer(customer: int, items: Mapping[int, str]) -> dict[str, Any]:
    """Waiting-room tickets, newest orders and units the customer may still buy, as JSON values. Polls each ticket.

    May run twice. The gate is read first; it has places and limits. Without PostgreSQL, ``orders`` has only orders that
    wait in the gate, and ``may_buy`` leaves out items whose gate is missing.

    Args:
        items: item id -> SKU of the sale's items.

    Raises:
        GateUnavailable: Redis cannot be reached.
    """
    seen = gate.standings(list(items), customer)
    tickets = {item: found.ticket for item, found in seen.items() if found.ticket}
    said = waiting_room.ask_each(tickets, customer)
    with patience(_LEDGER_S):
        may_buy = {items[item]: units for item, units in _may_buy(customer, seen).items()}
        orders = _orders(customer, seen)
    return {
        "tickets": [{"sku": items[item], "ticket": tickets[item], **_ticket(found)} for item, found in said.items()],
        "orders": orders,
        "may_buy": may_buy,
    }


def _ticket(found: gate.IssuedToken | waiting_room.Place | None) -> dict[str, Any]:
    match found:
        case gate.IssuedToken():
            return {"token": found.token, "expires_at": found.expires_at.isoformat().replace("+00:00", "Z")}
        case waiting_room.Place():
            return found.as_json()
    return {"retry_after": 1}


def _may_buy(customer: int, seen: Mapping[int, gate.Standing]) -> dict[int, int]:
    units = {item: found.may_buy for item, found in seen.items() if found.may_buy is not None}
    unknown = [item for item in seen if item not in units]
    try:
        for terms in inventory.terms(unknown) if unknown else ():
            bought = holds.units_by_limit(terms.item, [customer]).get(customer, {})
            units[terms.item] = max(0, terms.per_customer - sum(bought.values()))
    except Error:
        pass
    return {item: units[item] for item in seen if item in units}


def _orders(customer: int, seen: Mapping[int, gate.Standing]) -> list[dict[str, Any]]:
    queued = [selectors.waiting_view(order) for found in seen.values() for order in found.queued]
    try:
        rows = selectors.of_customer(customer, items=list(seen), limit=_NEWEST)
    except Error:
        rows = []
    known = {row["id"] for row in rows}
    found = rows + [order for order in queued if order["id"] not in known]
    return sorted(found, key=lambda order: str(order["id"]), reverse=True)[:_NEWEST]
