"""Fairness of a waiting room: compares the order of arrival with the order of call-ups and of purchases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from flashsale.core.clock import to_us
from inventory import selectors as inventory
from inventory.admission import waiting_room
from orders import selectors as orders


@dataclass(frozen=True, slots=True)
class Fairness:
    """``call_up`` and ``success``: Spearman's rank correlation with the order of arrival; 1 means first come, first served.

    For a customer with several call-ups the last one counts. ``forgotten``: number of the oldest call-ups that are no longer
    stored and not included.
    """

    item: int
    joined: int
    called: int
    lapsed: int
    bought: int
    call_up: float | None
    success: float | None
    forgotten: int


def rank_correlation(values: Sequence[int]) -> float | None:
    """Spearman's rho between a sequence without ties and its sorted order. None for fewer than two values."""
    count = len(values)
    if count < 2:
        return None
    rank = {value: place for place, value in enumerate(sorted(values))}
    squares = sum((place - rank[value]) ** 2 for place, value in enumerate(values))
    return 1 - 6 * squares / (count * (count * count - 1))


def _arrivals_of(turns: Sequence[waiting_room.Turn], bought: Mapping[int, datetime]) -> list[int]:
    """Arrival numbers of the buyers, in the order of ``bought``. For several turns, the one that led to the purchase."""
    found: dict[int, int] = {}
    for turn in turns:
        if turn.customer not in bought or turn.called_at_us > to_us(bought[turn.customer]):
            continue
        found[turn.customer] = turn.arrival
    return [found[customer] for customer in bought if customer in found]


def _last_turns(turns: Sequence[waiting_room.Turn]) -> list[int]:
    """Arrival numbers in the order of the last call-ups."""
    return list(dict.fromkeys(turn.arrival for turn in reversed(turns)))[::-1]


def report(slug: str) -> list[Fairness]:
    """The fairness of each item of the sale."""
    found = []
    for item in inventory.items_of_sale(slug):
        turns = waiting_room.turns(item)
        joined, lapsed = waiting_room.counts(item)
        called = max(waiting_room.called(item), len(turns))
        bought = _arrivals_of(turns, orders.first_orders(item))
        found.append(
            Fairness(
                item=item,
                joined=joined,
                called=called,
                lapsed=lapsed,
                bought=len(bought),
                call_up=rank_correlation(_last_turns(turns)),
                success=rank_correlation(bought),
                forgotten=called - len(turns),
            )
        )
    return found
