"""How fair a waiting room was: order of arrival against order of call-up and of success."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from flashsale.core.clock import to_us
from inventory import selectors as inventory
from inventory.admission import waiting_room
from orders import selectors as orders


@dataclass(frozen=True, slots=True)
class Fairness:
    """``call_up`` and ``success``: Spearman's rank correlation with the order of arrival; 1 is first come, first served.

    Of somebody who was called up again, because they did not come, the last turn counts. ``forgotten``: the oldest turns, when
    there were more than the line remembers; neither figure knows of them.
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
    """Spearman's rho of a sequence without ties against its own order; None for fewer than two values."""
    count = len(values)
    if count < 2:
        return None
    rank = {value: place for place, value in enumerate(sorted(values))}
    squares = sum((place - rank[value]) ** 2 for place, value in enumerate(values))
    return 1 - 6 * squares / (count * (count * count - 1))


def _arrivals_of(turns: Sequence[waiting_room.Turn], bought: Mapping[int, datetime]) -> list[int]:
    """The arrivals of those who bought, in the order of ``bought``; of several turns the one that they bought in."""
    found: dict[int, int] = {}
    for turn in turns:
        if turn.customer not in bought or turn.called_at_us > to_us(bought[turn.customer]):
            continue
        found[turn.customer] = turn.arrival
    return [found[customer] for customer in bought if customer in found]


def _last_turns(turns: Sequence[waiting_room.Turn]) -> list[int]:
    """The arrivals in the order of their last call-up."""
    return list(dict.fromkeys(turn.arrival for turn in reversed(turns)))[::-1]


def report(slug: str) -> list[Fairness]:
    """One line for each item of the sale."""
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
