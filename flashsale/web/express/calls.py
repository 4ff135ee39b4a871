"""The hot calls: how to recognise their requests, their input, and the function that they share with the view."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from rest_framework.exceptions import ParseError

from flashsale.core.steps import Steps
from flashsale.ratelimit import drf
from flashsale.web.answer import Answer
from flashsale.web.express.quick import Quick
from flashsale.web.express.request import Request
from flashsale.web.strict import parsed
from inventory import answers as inventory
from inventory import catalog
from orders import answers as orders
from orders.serializers import OrderRequestSerializer

_API = "/api/v1/"
_ORDER = Quick(OrderRequestSerializer())


@dataclass(frozen=True, slots=True)
class Call:
    """The call of one request. ``endpoint``: the name of the view's URL. ``names``: the names in its path.

    ``prepare``: returns the values of the body, or None if Django must report an error in it.
    """

    endpoint: str
    allow: str
    names: Mapping[str, str]
    prepare: Callable[[bytes], Any]
    act: Callable[[int, Any], Steps[Answer]]


def find(method: str, path: str) -> Call | None:
    """The hot call of this request, or None."""
    if not path.startswith(_API):
        return None
    parts = path[len(_API) :].split("/")
    if method == "POST":
        return _posted(parts)
    return _asked(parts) if method == "GET" else None


def _posted(parts: list[str]) -> Call | None:
    match parts:
        case ["orders", ""]:
            return Call("orders", "GET, POST, HEAD, OPTIONS", {}, _order, orders.place)
        case ["sales", slug, "items", sku, "purchase-tokens", ""] if slug and sku and catalog.is_at_hand(slug):
            names = {"slug": slug, "sku": sku}

            def issue(customer: int, _body: Any) -> Steps[Answer]:
                return inventory.purchase_token(customer, slug, sku)

            return Call("purchase-tokens", "POST, OPTIONS", names, _empty, issue)
    return None


def _asked(parts: list[str]) -> Call | None:
    match parts:
        case ["orders", name, ""] if (order_id := _uuid(name)) is not None:
            return Call(
                "order", "GET, HEAD, OPTIONS", {"order_id": name}, _nothing, lambda customer, _: orders.one(customer, order_id)
            )
        case ["waiting-room", ticket, ""] if ticket:
            return Call(
                "waiting-room",
                "GET, HEAD, OPTIONS",
                {"ticket": ticket},
                _nothing,
                lambda customer, _: inventory.place_in_line(customer, ticket),
            )
    return None


def _uuid(text: str) -> UUID | None:
    """Parse a UUID, only in the form that Django's path converter accepts."""
    try:
        found = UUID(text)
    except ValueError:
        return None
    return found if str(found) == text else None


def _nothing(_body: bytes) -> Any:
    return {}


def _empty(body: bytes) -> Any:
    return {} if body in (b"", b"{}") else None


def _order(body: bytes) -> Any:
    try:
        return _ORDER(parsed(body))
    except ParseError:
        return None


def pass_limits(call: Call, customer: int, request: Request) -> Steps[dict[str, str]]:
    """Check the rate limits of the endpoint, as for every request. Returns their response headers.

    Raises:
        RateLimited: the request is over a limit. The error carries the headers.
    """
    who = str(customer)
    address = request.address
    return drf.pass_rules(call.endpoint, lambda rule: drf.value_of_customer(rule, address, who, call.names))
