"""The sale API: what there is, and the permission to buy it."""

from collections.abc import Callable
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from flashsale.core.errors import FlashsaleError
from flashsale.core.ids import item_of_token
from flashsale.core.metrics import PURCHASE_TOKENS
from flashsale.edge import catalog
from flashsale.edge.customer import customer_id
from flashsale.edge.strict import StrictSerializer
from inventory import serializers
from inventory.admission import gate, waiting_room
from inventory.errors import GateMissing, TicketLapsed

_FOR_A_SECOND = {"Cache-Control": "public, max-age=1"}


class _Public(APIView):
    authentication_classes: Any = ()
    permission_classes: Any = ()


class Sales(_Public):
    """All sales."""

    @extend_schema(responses=serializers.SaleSerializer(many=True))
    def get(self, request: Request) -> Response:
        """The sales, newest first."""
        return Response(catalog.sales(), headers=_FOR_A_SECOND)


class SaleDetail(_Public):
    """One sale."""

    @extend_schema(responses=serializers.SaleSerializer)
    def get(self, request: Request, slug: str) -> Response:
        """The sale with its items and what is left of them."""
        return Response(catalog.sale(slug), headers=_FOR_A_SECOND)


class PurchaseTokens(APIView):
    """The permission to order an item."""

    @extend_schema(request=None, responses={201: serializers.PurchaseTokenSerializer, 202: serializers.PlaceSerializer})
    def post(self, request: Request, slug: str, sku: str) -> Response:
        """A purchase token for one order, good for five minutes."""
        body = StrictSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        item = catalog.item_id(slug, sku)
        enter = waiting_room.join if catalog.has_waiting_room(slug) else gate.issue_token
        return _answer(lambda: enter(item, customer_id(request)), issued=201, waiting=202)


class WaitingRoom(APIView):
    """A place in line."""

    @extend_schema(responses={200: serializers.TurnSerializer})
    def get(self, request: Request, ticket: str) -> Response:
        """Where you stand; once called up, your purchase token."""
        return _answer(lambda: _ask(ticket, customer_id(request)), issued=200, waiting=200)


def _ask(ticket: str, customer: int) -> gate.IssuedToken | waiting_room.Place:
    """Where there is no gate, ``paused`` for as long as there should be one: the line outlives it. Else there is no line."""
    try:
        return waiting_room.ask(ticket, customer)
    except GateMissing as missing:
        if not catalog.may_have(item_of_token(ticket) or 0):
            raise TicketLapsed from missing
        raise


def _answer(enter: Callable[[], gate.IssuedToken | waiting_room.Place], *, issued: int, waiting: int) -> Response:
    try:
        found = enter()
    except FlashsaleError as error:
        PURCHASE_TOKENS.labels(error.code).inc()
        raise
    headers = {"Cache-Control": "no-store"}
    if isinstance(found, gate.IssuedToken):
        PURCHASE_TOKENS.labels("issued").inc()
        expires_at = found.expires_at.isoformat().replace("+00:00", "Z")
        return Response({"token": found.token, "expires_at": expires_at}, issued, headers=headers)
    PURCHASE_TOKENS.labels("waiting").inc()
    place = {"ticket": found.ticket, **found.as_json()}
    return Response(place, waiting, headers=headers | {"Retry-After": str(found.retry_after_s)})
