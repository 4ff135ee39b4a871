"""The waiting room: customers queue for an item and are called up at the sale's pace. Uses no models.

The line advances when customers poll; there is no background task. A customer who joins again keeps their place. A customer
who stops polling is passed over after ``WAITING_ROOM_LAPSE_S``. They get their place back when they poll again, and lose it
after ``WAITING_ROOM_KEEP_PLACE_S``.
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
from flashsale.core.steps import Steps, run
from inventory.admission import gate, keys
from inventory.admission.codes import AdmitCode
from inventory.errors import TicketLapsed

_PARTS = [gate.CLOSED, gate.TERMS, gate.WHOLE, gate.LUA / "place.lua", gate.LUA / "come_near.lua", gate.LUA / "call_up.lua"]
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
_READS_PER_S = 10_000  # reads of one line's numbers, which the gateway answers
_MOST_TURNS, _PAGE = 100_000, 5_000  # _MOST_TURNS is the same as in call_up.lua
_CATCH_UP_US = _SECOND_US  # how much delay call_up.lua lets a line catch up at once


@dataclass(frozen=True, slots=True)
class Place:
    """A customer's place. ``estimated_wait_s`` is computed from the pace alone. ``number``: as ``Numbers`` counts them.

    ``retry_after_s``: seconds until the next poll. A customer who polls then hears about a sold-out item within a second, or
    later if the whole line would otherwise send more than ``WAITING_ROOM_POLLS_PER_S`` polls. At most ``WAITING_ROOM_RETRY_S``.
    """

    ticket: str
    number: int
    position: int
    remaining: int
    estimated_wait_s: int
    retry_after_s: int

    def as_json(self) -> dict[str, int]:
        """Position and polling interval in the API's format."""
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
    """The public numbers of a line, the same for all its customers.

    ``now_serving``: all numbers up to this one have had their turn. Their customers poll with their ticket. ``check_in``:
    customers up to this number must poll with their ticket at least every ``check_in_every_s`` seconds. Otherwise they are
    passed over, or lose their place. ``rate``: turns per second. ``retry_after_s``: seconds until the next look.
    """

    now_serving: int
    check_in: int
    check_in_every_s: int
    waiting: int
    remaining: int
    rate: float
    retry_after_s: int

    def as_json(self) -> dict[str, Any]:
        """The numbers in the API's format."""
        return {
            "now_serving": self.now_serving,
            "check_in": self.check_in,
            "check_in_every": self.check_in_every_s,
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
    """A call-up, as recorded for the report."""

    customer: int
    arrival: int
    called_at_us: int


def join(item: int, customer: int, *, now_us: int | None = None) -> gate.IssuedToken | Place:
    """See :func:`joining`."""
    return run(joining(item, customer, now_us=now_us))


def joining(item: int, customer: int, *, now_us: int | None = None) -> Steps[gate.IssuedToken | Place]:
    """A purchase token if nobody waits and the pace allows it, otherwise the customer's place in the line. May run twice.

    A customer who has used or missed their turn joins at the end of the line.

    Raises:
        NotOpen, Paused, Ended, SoldOut, GateMissing, GateUnavailable: the item cannot be bought now.
        LimitPerCustomer: the customer already has as many units as allowed.
    """
    while True:
        answer = yield from _stand(item, customer, new_purchase_token(item), "join", now_us)
        if not isinstance(answer, _CalledUp):
            return answer
        with suppress(TicketLapsed):  # the turn was used between the two round trips: join again
            return (yield from asking(answer.ticket, customer, now_us=now_us))


def ask(ticket: str, customer: int, *, now_us: int | None = None) -> gate.IssuedToken | Place:
    """See :func:`asking`."""
    return run(asking(ticket, customer, now_us=now_us))


def asking(ticket: str, customer: int, *, now_us: int | None = None) -> Steps[gate.IssuedToken | Place]:
    """The customer's place, or their token after the call-up. The token stays the same until it is used. May run twice.

    Raises:
        TicketLapsed: the ticket is unknown, used, not the customer's, or was not polled for too long.
        Ended, SoldOut, GateMissing, GateUnavailable: the item cannot be bought any more.
    """
    item = item_of_token(ticket)
    if item is None:
        raise TicketLapsed
    answer = yield from _stand(item, customer, ticket, "ask", now_us)
    assert not isinstance(answer, _CalledUp), "CALLED_UP is returned only to join"
    return answer


@gate.guarded
def ask_each(tickets: Mapping[int, str], customer: int) -> dict[int, gate.IssuedToken | Place | None]:
    """Poll several tickets of a customer, by item, in two round trips. May run twice.

    The value is None while an item's gate is missing. Lapsed tickets and items that cannot be bought any more are left out.
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
    """Advance the lines of these items. Returns each line's numbers, or the error for everybody in it. May run twice.

    Raises:
        GateUnavailable: Redis did not answer.
    """
    times = [settings.WAITING_ROOM_LAPSE_S * _SECOND_US, settings.WAITING_ROOM_KEEP_PLACE_S * _SECOND_US]
    args = [*times, "" if now_us is None else now_us]
    answers = _WATCH.each(gate_client(), [([name(item) for name in _KEYS], args) for item in items])
    return {item: _numbers(answer) for item, answer in zip(items, answers, strict=True)}


def _numbers(answer: list[Any]) -> Numbers | FlashsaleError:
    code = AdmitCode(answer[0])
    if code is not AdmitCode.WAITING:
        return gate.refusal_of(code)
    served, near, remaining, pace_us, waiting, called, per_customer = map(int, answer[1:])
    end_s = max(_earliest_end_s(remaining, pace_us, called, per_customer), -(-waiting // _READS_PER_S))
    retry_after_s = min(max(end_s, 1), settings.WAITING_ROOM_RETRY_S)
    every_s = settings.WAITING_ROOM_LAPSE_S * 3 // 4  # an answer may be lost or late
    return Numbers(served, near, every_s, waiting, remaining, round(_SECOND_US / max(pace_us, 1), 3), retry_after_s)


def _token_of(ticket: str) -> str:
    """Derive the purchase token from the ticket with a secret. A lost answer can thus be repeated with the same token."""
    item = ticket.partition(".")[0]
    secret = hmac.digest(settings.SECRET_KEY.encode(), f"purchase token of {ticket}".encode(), sha256)
    return f"{item}.{urlsafe_b64encode(secret[:24]).decode()}"


def call(item: int, customer: int, ticket: str, verb: str, now_us: int | None = None) -> tuple[list[str], list[str | int]]:
    """KEYS and ARGV of the script ``STAND``. ``verb`` is "join" or "ask"."""
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


def _stand(item: int, customer: int, ticket: str, verb: str, now_us: int | None) -> Steps[gate.IssuedToken | Place | _CalledUp]:
    answer = yield from gate.trip(STAND, *call(item, customer, ticket, verb, now_us))
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
    """Seconds until this customer's next poll, at most ``interval_s``. Spreads customers who joined in the same second."""
    return interval_s - (now_us // _SECOND_US - customer) % interval_s


def _seconds(span_us: int) -> int:
    return -(-span_us // _SECOND_US)


def _earliest_end_s(remaining: int, pace_us: int, called: int, per_customer: int) -> int:
    """Whole seconds during which the item cannot sell out, even if every called-up customer buys ``per_customer`` units."""
    still_to_call = -(-(remaining - called * per_customer) // per_customer)
    return max(0, still_to_call * pace_us - _CATCH_UP_US) // _SECOND_US


def _seconds_at_budget(waiting: int) -> int:
    """Polling interval in seconds at which the whole line uses its poll budget."""
    return -(-waiting // settings.WAITING_ROOM_POLLS_PER_S)


@gate.guarded
def turns(item: int) -> list[Turn]:
    """The last 100,000 call-ups, oldest first."""
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
    """Number of customers who joined, and of those who lost their place because they stopped polling."""
    joined, lapsed = gate_client().hmget(keys.meta(item), "line_joined", "line_lapsed")
    return int(joined or 0), int(lapsed or 0)


@gate.guarded
def called(item: int) -> int:
    """Total number of call-ups, including those that ``turns`` no longer has."""
    return int(gate_client().hget(keys.meta(item), "line_called") or 0)
