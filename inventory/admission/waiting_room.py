"""The waiting room: a line of customers for an item, called up at the sale's pace. Knows no model.

The line moves when somebody asks or watches; nothing else feeds it. Whoever joins again keeps the place. A place has a number,
and its customer need not ask before it is near: before the pace can call it up within ``WAITING_ROOM_KEEP_PLACE_S``. Whoever
has not asked for ``WAITING_ROOM_LAPSE_S`` when their turn comes is passed over, and is back where they were when they ask.
Whoever is near and has not asked for ``WAITING_ROOM_KEEP_PLACE_S`` has lost the place.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from django.conf import settings

from flashsale.core.clock import from_us, now, to_us
from flashsale.core.errors import FlashsaleError
from flashsale.core.ids import item_of_token, new_purchase_token
from flashsale.core.lua import Script
from flashsale.core.redis_client import gate_client
from inventory.admission import gate, keys
from inventory.admission.codes import AdmitCode
from inventory.errors import TicketLapsed

_PARTS = [gate.CLOSED, gate.TERMS, gate.WHOLE, gate.LUA / "place.lua", gate.LUA / "call_up.lua"]
STAND = Script(gate.LUA / "stand_in_line-14.lua", parts=_PARTS)
_WATCH = Script(gate.LUA / "watch_line-12.lua", parts=_PARTS)
_KEYS: tuple[Callable[[int], str], ...] = (
    keys.meta,
    keys.stock,
    keys.held,
    keys.buyers,
    keys.queued,
    keys.admitted,
    keys.line,
    keys.seen,
    keys.called,
    keys.kept,
    keys.tickets,
    keys.turns,
)
_SECOND_US = 1_000_000
_READS_PER_S = 10_000  # of one line's numbers, which the gateway gives out
_MOST_TURNS, _PAGE = 100_000, 5_000  # the first is what call_up.lua keeps
_CATCH_UP_US = _SECOND_US  # what call_up.lua lets a line make up for at once


@dataclass(frozen=True, slots=True)
class Place:
    """A place in line. ``estimated_wait_s``: by the pace alone. ``number``: of the place, as ``Numbers`` counts them.

    ``retry_after_s``: when to ask again. Whoever asks then learns that the last unit is gone within a second of it, or, where
    that would be over ``WAITING_ROOM_POLLS_PER_S`` polls of the whole line, within as many as keep to it; never over
    ``WAITING_ROOM_RETRY_S``.
    """

    ticket: str
    number: int
    position: int
    remaining: int
    estimated_wait_s: int
    retry_after_s: int

    def as_json(self) -> dict[str, int]:
        """Where the place is and when to ask again, as the API says it."""
        return {
            "number": self.number,
            "position": self.position,
            "ahead": self.position - 1,
            "remaining": self.remaining,
            "estimated_wait": self.estimated_wait_s,
            "retry_after": self.retry_after_s,
        }


@dataclass(frozen=True, slots=True)
class Numbers:
    """What all who stand in a line may know.

    ``now_serving``: every number up to it has had its turn, so its customer asks with their ticket. ``check_in``: up to a
    number, how often customers ask with their tickets at the least, in seconds; else they are passed over, or lose their place.
    ``rate``: turns a second. ``retry_after_s``: when to look again.
    """

    now_serving: int
    check_in: tuple[tuple[int, int], ...]
    waiting: int
    remaining: int
    rate: float
    retry_after_s: int

    def as_json(self) -> dict[str, Any]:
        """As the API says it."""
        return {
            "now_serving": self.now_serving,
            "check_in": [{"up_to": number, "every": every_s} for number, every_s in self.check_in],
            "waiting": self.waiting,
            "remaining": self.remaining,
            "rate": self.rate,
            "retry_after": self.retry_after_s,
        }


@dataclass(frozen=True, slots=True)
class _CalledUp:
    ticket: str


@dataclass(frozen=True, slots=True)
class Turn:
    """Somebody was called up, as it is kept for the report."""

    customer: int
    arrival: int
    called_at_us: int


def join(item: int, customer: int, *, now_us: int | None = None) -> gate.IssuedToken | Place:
    """A purchase token when nobody waits and the pace allows it, else the customer's one place in line. May run twice.

    Whoever has used their turn, or let it pass, stands at the end of the line again.

    Raises:
        NotOpen, Paused, Ended, SoldOut, GateMissing, GateUnavailable: there is nothing to wait for.
        LimitPerCustomer: they hold or have bought all they may, and a turn would be of no use to them.
    """
    while True:
        answer = _stand(item, customer, new_purchase_token(item), "join", now_us)
        if not isinstance(answer, _CalledUp):
            return answer
        with suppress(TicketLapsed):  # used up between the two trips: then they stand in line anew
            return ask(answer.ticket, customer, now_us=now_us)


def ask(ticket: str, customer: int, *, now_us: int | None = None) -> gate.IssuedToken | Place:
    """Where the customer stands, or the token once called up: the same one until it is used. May run twice.

    Raises:
        TicketLapsed: unknown, somebody else's, used up, or not asked about for too long.
        Ended, SoldOut, GateMissing, GateUnavailable: there is nothing left to wait for.
    """
    item = item_of_token(ticket)
    if item is None:
        raise TicketLapsed
    answer = _stand(item, customer, ticket, "ask", now_us)
    assert not isinstance(answer, _CalledUp), "only who joins with another ticket is told of the one they have"
    return answer


@gate.guarded
def ask_each(tickets: Mapping[int, str], customer: int) -> dict[int, gate.IssuedToken | Place | None]:
    """Ask for a customer's tickets, by item; two trips. None where the gate is missing for a moment; what has lapsed, or has
    nothing left to wait for, is left out. May run twice.
    """
    answers = STAND.each(gate_client(), [call(item, customer, ticket, "ask") for item, ticket in tickets.items()])
    found: dict[int, gate.IssuedToken | Place | None] = {}
    for (item, ticket), answer in zip(tickets.items(), answers, strict=True):
        match AdmitCode(answer[0]):
            case AdmitCode.ADMITTED | AdmitCode.WAITING:
                found[item] = _said(answer, ticket, customer, None)
            case AdmitCode.GATE_MISSING:
                found[item] = None
    return found


@gate.guarded
def watch(items: Sequence[int], *, now_us: int | None = None) -> dict[int, Numbers | FlashsaleError]:
    """Let the lines of these items move; of each its numbers, or what everybody in it hears instead. May run twice.

    Raises:
        GateUnavailable: it cannot be said.
    """
    times = [settings.WAITING_ROOM_LAPSE_S * _SECOND_US, settings.WAITING_ROOM_KEEP_PLACE_S * _SECOND_US]
    args = [*times, "" if now_us is None else now_us]
    answers = _WATCH.each(gate_client(), [([name(item) for name in _KEYS], args) for item in items])
    return {item: _numbers(answer) for item, answer in zip(items, answers, strict=True)}


def _numbers(answer: list[Any]) -> Numbers | FlashsaleError:
    code = AdmitCode(answer[0])
    if code is not AdmitCode.WAITING:
        return gate.refusal_of(code)
    served, soon, near, remaining, pace_us, waiting, called, per_customer = map(int, answer[1:])
    check_in = ((max(served, soon), _often(settings.WAITING_ROOM_LAPSE_S)), (near, _often(settings.WAITING_ROOM_KEEP_PLACE_S)))
    end_s = max(_earliest_end_s(remaining, pace_us, called, per_customer), -(-waiting // _READS_PER_S))
    retry_after_s = min(max(end_s, 1), settings.WAITING_ROOM_RETRY_S)
    return Numbers(served, check_in, waiting, remaining, round(_SECOND_US / max(pace_us, 1), 3), retry_after_s)


def _often(silence_s: int) -> int:
    """How often to ask, with some seconds to spare, so as not to be silent for so long."""
    return max(1, silence_s * 3 // 4)


def _token_of(ticket: str) -> str:
    """The purchase token that belongs to a ticket: nobody can tell one from the other, and a lost answer costs nothing."""
    item = ticket.partition(".")[0]
    secret = hmac.digest(settings.SECRET_KEY.encode(), f"purchase token of {ticket}".encode(), sha256)
    return f"{item}.{urlsafe_b64encode(secret[:24]).decode()}"


def call(item: int, customer: int, ticket: str, verb: str, now_us: int | None = None) -> tuple[list[str], list[str | int]]:
    """KEYS and ARGV of ``STAND``; ``verb`` is join or ask."""
    token = _token_of(ticket)
    return [*(name(item) for name in _KEYS), keys.token(item, token), keys.tokens(item, customer)], [
        customer,
        ticket,
        verb,
        settings.WAITING_ROOM_TURN_S,
        settings.WAITING_ROOM_LAPSE_S * _SECOND_US,
        settings.WAITING_ROOM_KEEP_PLACE_S * _SECOND_US,
        "" if now_us is None else now_us,
        token,
    ]


@gate.guarded
def _stand(item: int, customer: int, ticket: str, verb: str, now_us: int | None) -> gate.IssuedToken | Place | _CalledUp:
    answer = STAND(gate_client(), *call(item, customer, ticket, verb, now_us))
    code = AdmitCode(answer[0])
    if code is AdmitCode.CALLED_UP:
        return _CalledUp(answer[1])
    if code not in (AdmitCode.ADMITTED, AdmitCode.WAITING):
        gate.refuse(code)
    return _said(answer, ticket, customer, now_us)


def _said(answer: list[Any], ticket: str, customer: int, now_us: int | None) -> gate.IssuedToken | Place:
    if answer[0] == AdmitCode.ADMITTED:
        return gate.IssuedToken(_token_of(ticket), from_us(int(answer[1])))
    _, ahead, remaining, pace_us, own, waiting, called, per_customer, number = answer
    wait_s = _seconds((ahead + 1) * pace_us)
    end_s = max(_earliest_end_s(remaining, pace_us, called, per_customer), _seconds_at_budget(waiting))
    interval_s = min(max(min(wait_s // 2, end_s), 1), settings.WAITING_ROOM_RETRY_S)
    return Place(own, int(number), ahead + 1, remaining, wait_s, _spread(customer, interval_s, now_us or to_us(now())))


def _spread(customer: int, interval_s: int, now_us: int) -> int:
    """Seconds, no more than the interval, until this customer's second in it: who came in one second does not ask in one."""
    return interval_s - (now_us // _SECOND_US - customer) % interval_s


def _seconds(span_us: int) -> int:
    return -(-span_us // _SECOND_US)


def _earliest_end_s(remaining: int, pace_us: int, called: int, per_customer: int) -> int:
    """Whole seconds before which the units cannot be gone: whoever is called up buys all they may, and more are called up."""
    still_to_call = -(-(remaining - called * per_customer) // per_customer)
    return max(0, still_to_call * pace_us - _CATCH_UP_US) // _SECOND_US


def _seconds_at_budget(waiting: int) -> int:
    """How far apart a ticket's polls are when the whole line sends as many as it may."""
    return -(-waiting // settings.WAITING_ROOM_POLLS_PER_S)


@gate.guarded
def turns(item: int) -> list[Turn]:
    """Who was called up, in the order of the calls; the last 100,000."""
    found: list[Turn] = []
    for first in range(0, _MOST_TURNS, _PAGE):
        for line in (page := gate_client().lrange(keys.turns(item), first, first + _PAGE - 1)):
            customer, arrival, called_at = str(line).split(" ")
            found.append(Turn(int(customer), int(arrival), int(called_at)))
        if len(page) < _PAGE:
            break
    return found


@gate.guarded
def counts(item: int) -> tuple[int, int]:
    """How many joined, and how many of them lost their place because they did not ask."""
    joined, lapsed = gate_client().hmget(keys.meta(item), "line_joined", "line_lapsed")
    return int(joined or 0), int(lapsed or 0)


@gate.guarded
def called(item: int) -> int:
    """How many turns there were, those included that ``turns`` has forgotten."""
    return int(gate_client().hget(keys.meta(item), "line_called") or 0)
