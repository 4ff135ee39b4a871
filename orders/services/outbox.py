"""What the gate still has to be told of orders."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from uuid import UUID

from flashsale.core import bulk
from orders.models import GateEffect


def tell(kind: str, pairs: Iterable[tuple[int, UUID]]) -> None:
    """Write down that the gate has to learn of these (item, order) pairs, in the transaction of the change itself."""
    bulk.insert(GateEffect, [{"item_id": item, "order_id": order, "kind": kind} for item, order in pairs])


def lock_effects(limit: int, but_not_of: Iterable[int] = ()) -> Mapping[tuple[int, str], list[tuple[int, UUID]]]:
    """What the gate has to be told, oldest first: (item, kind) -> effect id and order id.

    The rows are the caller's until its transaction ends; what others have locked, and kinds that only another release knows,
    are left out.

    Args:
        but_not_of: items whose effects stay where they are.
    """
    grouped: dict[tuple[int, str], list[tuple[int, UUID]]] = defaultdict(list)
    rows = GateEffect.objects.filter(kind__in=GateEffect.Kind.values).exclude(item_id__in=list(but_not_of))
    rows = rows.select_for_update(skip_locked=True).order_by("pk")
    for item, kind, pk, order_id in rows.values_list("item_id", "kind", "pk", "order_id")[:limit]:
        grouped[item, kind].append((pk, order_id))
    return grouped


def forget_effects(ids: Iterable[int]) -> None:
    """The gate knows."""
    GateEffect.objects.filter(pk__in=list(ids)).delete()
