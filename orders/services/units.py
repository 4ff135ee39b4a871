"""Stock changes of orders, each with the gate update that belongs to it."""

from collections import defaultdict
from collections.abc import Iterable
from uuid import UUID

from inventory import services as inventory
from orders.models import GateEffect
from orders.services import outbox


def release(lines: Iterable[inventory.Line], kind: GateEffect.Kind = GateEffect.Kind.RELEASE) -> None:
    """Release reserved units. Lines without reserved units are ignored. May run twice.

    Args:
        kind: ``EXPIRED`` if the release counts against the customers.
    """
    released = inventory.record_release(lines)
    outbox.tell(kind, [(line.item, line.order) for line in released])
    inventory.give_back(released)


def sell(lines: Iterable[tuple[int, UUID, int]]) -> None:
    """Mark the reserved units of each (item, order, units) as sold. May run twice."""
    for item, requests in _by_item(lines).items():
        done = inventory.sell_units(item_id=item, requests=requests)
        outbox.tell(GateEffect.Kind.SETTLE, [(item, order) for order in done])


def put_back_on_sale(lines: Iterable[tuple[int, UUID, int]]) -> None:
    """Make the sold units of each (item, order, units) available again. May run twice.

    The gate is rebuilt. It has no record of a settled order, so a plain increment could not be made idempotent.
    """
    for item, requests in _by_item(lines).items():
        done = inventory.return_units(item_id=item, requests=requests)
        outbox.tell(GateEffect.Kind.REBUILD, [(item, order) for order in done])


def _by_item(lines: Iterable[tuple[int, UUID, int]]) -> dict[int, dict[UUID, int]]:
    grouped: dict[int, dict[UUID, int]] = defaultdict(dict)
    for item, order, units in lines:
        grouped[item][order] = units
    return dict(sorted(grouped.items()))
