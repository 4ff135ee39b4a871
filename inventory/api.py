"""The sale API: sales, purchase tokens and the waiting room."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from flashsale.core.steps import run
from flashsale.web.answer import sent
from flashsale.web.customer import customer_id
from flashsale.web.strict import StrictSerializer
from inventory import answers, catalog, serializers


class _Public(APIView):
    authentication_classes: Any = ()
    permission_classes: Any = ()


class Sales(_Public):
    """All sales."""

    @extend_schema(responses=serializers.SaleSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List sales, newest first."""
        return Response(catalog.sales(), headers=answers.PUBLIC)


class SaleDetail(_Public):
    """One sale."""

    @extend_schema(responses=serializers.SaleSerializer)
    def get(self, request: Request, slug: str) -> Response:
        """The sale with its items and their remaining units."""
        return Response(catalog.sale(slug), headers=answers.PUBLIC)


class PurchaseTokens(APIView):
    """Purchase tokens."""

    @extend_schema(request=None, responses={201: serializers.PurchaseTokenSerializer, 202: serializers.PlaceSerializer})
    def post(self, request: Request, slug: str, sku: str) -> Response:
        """Issue a purchase token. It is valid for one order and for five minutes."""
        body = StrictSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        return sent(run(answers.purchase_token(customer_id(request), slug, sku)))


class Line(_Public):
    """An item's line in the waiting room."""

    @extend_schema(responses=serializers.NumbersSerializer)
    def get(self, request: Request, slug: str, sku: str) -> Response:
        """The number that is being served, and which numbers are to ask with their tickets. The same for everybody."""
        return sent(answers.line(slug, sku))


class WaitingRoom(APIView):
    """Waiting-room tickets."""

    @extend_schema(responses={200: serializers.TurnSerializer})
    def get(self, request: Request, ticket: str) -> Response:
        """Your position in the waiting room, or your purchase token after you are called up."""
        return sent(run(answers.place_in_line(customer_id(request), ticket)))
