"""Answers to requests for purchase tokens, shared by the express lane and the API views."""

from functools import partial

from flashsale.core.errors import FlashsaleError, NotFound
from flashsale.core.ids import item_of_token
from flashsale.core.metrics import PURCHASE_TOKENS, child
from flashsale.core.shared import Shared
from flashsale.core.steps import Blocking, Steps
from flashsale.web.answer import Answer
from inventory import catalog
from inventory.admission import gate, waiting_room
from inventory.errors import GateMissing, TicketLapsed

_KNOWN_FOR_S = 0.2
PUBLIC = {"Cache-Control": "public, max-age=1"}
_Found = gate.IssuedToken | waiting_room.Place


def purchase_token(customer: int, slug: str, sku: str) -> Steps[Answer]:
    """A purchase token, or a waiting-room ticket. May run twice.

    Raises:
        FlashsaleError: no token was issued.
    """
    item, has_waiting_room = yield from catalog.finding(slug, sku)
    enter: Steps[_Found] = waiting_room.joining(item, customer) if has_waiting_room else gate.issuing(item, customer)
    return (yield from _answer(enter, issued=201, waiting=202))


def place_in_line(customer: int, ticket: str) -> Steps[Answer]:
    """The customer's position in the waiting room, or the purchase token after the call-up. May run twice.

    Raises:
        FlashsaleError: the ticket is no longer valid.
    """
    return (yield from _answer(_ask(ticket, customer), issued=200, waiting=200))


def _ask(ticket: str, customer: int) -> Steps[_Found]:
    """Poll the ticket. If an item that should have a gate has none, answer ``paused``: its waiting room still exists."""
    try:
        return (yield from waiting_room.asking(ticket, customer))
    except GateMissing as missing:
        if not (yield Blocking(partial(catalog.may_have, item_of_token(ticket) or 0))):
            raise TicketLapsed from missing
        raise


def line(slug: str, sku: str) -> Answer:
    """The public numbers of an item's waiting room, at most 0.2 s old. May run twice.

    Raises:
        NotFound: the sale has no waiting room.
        FlashsaleError: the item cannot be bought now.
    """
    item, has_waiting_room = catalog.item_and_line(slug, sku)
    if not has_waiting_room:
        raise NotFound
    return line_of(_numbers.get(item))


def line_of(numbers: waiting_room.Numbers | FlashsaleError) -> Answer:
    """The answer with these numbers.

    Raises:
        FlashsaleError: the error that was found in their place.
    """
    if isinstance(numbers, FlashsaleError):
        raise numbers.with_traceback(None)
    return Answer(numbers.as_json(), headers=PUBLIC)


def _watched(item: int) -> waiting_room.Numbers | FlashsaleError:
    try:
        return waiting_room.watch([item])[item]
    except FlashsaleError as error:
        return error


_numbers = Shared(_watched, known_for_s=_KNOWN_FOR_S)


def _answer(enter: Steps[_Found], *, issued: int, waiting: int) -> Steps[Answer]:
    try:
        found = yield from enter
    except FlashsaleError as error:
        child(PURCHASE_TOKENS, error.code).inc()
        raise
    headers = {"Cache-Control": "no-store"}
    if isinstance(found, gate.IssuedToken):
        child(PURCHASE_TOKENS, "issued").inc()
        expires_at = found.expires_at.isoformat().replace("+00:00", "Z")
        return Answer({"token": found.token, "expires_at": expires_at}, issued, headers)
    child(PURCHASE_TOKENS, "waiting").inc()
    place = {"ticket": found.ticket, **found.as_json()}
    return Answer(place, waiting, headers | {"Retry-After": str(found.retry_after_s)})
