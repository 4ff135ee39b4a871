"""What customers are answered who ask for an item: the same for every way in."""

from collections.abc import Callable

from flashsale.core.errors import FlashsaleError, NotFound
from flashsale.core.ids import item_of_token
from flashsale.core.metrics import PURCHASE_TOKENS
from flashsale.edge import catalog
from flashsale.edge.shared import Shared
from flashsale.web.answer import Answer
from inventory.admission import gate, waiting_room
from inventory.errors import GateMissing, TicketLapsed

_KNOWN_FOR_S = 0.2
PUBLIC = {"Cache-Control": "public, max-age=1"}


def purchase_token(customer: int, slug: str, sku: str) -> Answer:
    """A purchase token, or a place in line. May run twice.

    Raises:
        FlashsaleError: nothing was issued.
    """
    item = catalog.item_id(slug, sku)
    enter = waiting_room.join if catalog.has_waiting_room(slug) else gate.issue_token
    return _answer(lambda: enter(item, customer), issued=201, waiting=202)


def place_in_line(customer: int, ticket: str) -> Answer:
    """Where the customer stands; once called up, the purchase token. May run twice.

    Raises:
        FlashsaleError: there is nothing to wait for.
    """
    return _answer(lambda: _ask(ticket, customer), issued=200, waiting=200)


def _ask(ticket: str, customer: int) -> gate.IssuedToken | waiting_room.Place:
    """Where there is no gate, ``paused`` for as long as there should be one: the line outlives it. Else there is no line."""
    try:
        return waiting_room.ask(ticket, customer)
    except GateMissing as missing:
        if not catalog.may_have(item_of_token(ticket) or 0):
            raise TicketLapsed from missing
        raise


def line(slug: str, sku: str) -> Answer:
    """The numbers that all who stand in an item's line go by, at most 0.2 s old. May run twice.

    Raises:
        NotFound: the sale has no waiting room.
        FlashsaleError: there is nothing to wait for.
    """
    item = catalog.item_id(slug, sku)
    if not catalog.has_waiting_room(slug):
        raise NotFound
    return line_of(_numbers.get(item))


def line_of(numbers: waiting_room.Numbers | FlashsaleError) -> Answer:
    """
    Raises:
        FlashsaleError: this one.
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


def _answer(enter: Callable[[], gate.IssuedToken | waiting_room.Place], *, issued: int, waiting: int) -> Answer:
    try:
        found = enter()
    except FlashsaleError as error:
        PURCHASE_TOKENS.labels(error.code).inc()
        raise
    headers = {"Cache-Control": "no-store"}
    if isinstance(found, gate.IssuedToken):
        PURCHASE_TOKENS.labels("issued").inc()
        expires_at = found.expires_at.isoformat().replace("+00:00", "Z")
        return Answer({"token": found.token, "expires_at": expires_at}, issued, headers)
    PURCHASE_TOKENS.labels("waiting").inc()
    place = {"ticket": found.ticket, **found.as_json()}
    return Answer(place, waiting, headers | {"Retry-After": str(found.retry_after_s)})
