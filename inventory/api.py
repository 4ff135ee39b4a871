"""The sale API: what there is, and the permission to buy it."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from flashsale.core.errors import FlashsaleError
from flashsale.core.metrics import PURCHASE_TOKENS
from flashsale.edge import catalog
from flashsale.edge.customer import customer_id
from flashsale.edge.strict import StrictSerializer
from inventory import serializers
from inventory.admission import gate

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

    @extend_schema(request=None, responses={201: serializers.PurchaseTokenSerializer})
    def post(self, request: Request, slug: str, sku: str) -> Response:
        """A purchase token for one order, good for five minutes."""
        body = StrictSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        try:
            issued = gate.issue_token(catalog.item_id(slug, sku), customer_id(request))
        except FlashsaleError as error:
            PURCHASE_TOKENS.labels(error.code).inc()
            raise
        PURCHASE_TOKENS.labels("issued").inc()
        expires_at = issued.expires_at.isoformat().replace("+00:00", "Z")
        return Response({"token": issued.token, "expires_at": expires_at}, 201, headers={"Cache-Control": "no-store"})
