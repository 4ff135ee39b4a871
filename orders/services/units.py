"""Units of orders in the ledger, and the effect that tells the gate."""

from collections import defaultdict
from collections.abc import Iterable
from uuid import UUID

from inventory import services as inventory
from orders.models import GateEffect
from orders.services import outbox


def release(lines: Iterable[inventory.Line], kind: GateEffect.Kind = GateEffect.Kind.RELEASE) -> None:
    """Give units back; what has none reserved any more gives none. May run twice.

    Args:
        kind: ``EXPIRED`` where it counts against the customers.
    """
    released = inventory.record_release(lines)
    outbox.tell(kind, [(line.item, line.order) for line in released])
    inventory.give_back(released)


def sell(lines: Iterable[tuple[int, UUID, int]]) -> None:
    """Turn reserved units of (item, order, units) into sold ones. May run twice."""
    for item, requests in _by_item(lines).items():
        done = inventory.sell_units(item_id=item, requests=requests)
        outbox.tell(GateEffect.Kind.SETTLE, [(item, order) for order in done])


def put_back_on_sale(lines: Iterable[tuple[int, UUID, int]]) -> None:
    """Turn sold units of (item, order, units) into available ones. May run twice.

    The gate is rebuilt: it remembers no order that was settled, so nothing else could tell it once, whoever dies meanwhile.
    """
    for item, requests in _by_item(lines).items():
        done = inventory.return_units(item_id=item, requests=requests)
        outbox.tell(GateEffect.Kind.REBUILD, [(item, order) for order in done])


def _by_item(lines: Iterable[tuple[int, UUID, int]]) -> dict[int, dict[UUID, int]]:
    grouped: dict[int, dict[UUID, int]] = defaultdict(dict)
    for item, order, units in lines:
        grouped[item][order] = units
    return dict(sorted(grouped.items()))
