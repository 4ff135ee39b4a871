"""The order API: validate, admit, answer."""

from typing import Any
from uuid import UUID

from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from flashsale.edge import catalog
from flashsale.edge.customer import customer_id
from flashsale.edge.strict import StrictSerializer
from orders import serializers
from tasks import customer_actions, intake


def _valid(serializer: type[StrictSerializer], request: Request) -> dict[str, Any]:
    body = serializer(data=request.data)
    body.is_valid(raise_exception=True)
    return body.validated_data  # type: ignore[no-any-return]


class Orders(APIView):
    """A customer's orders."""

    @extend_schema(responses=serializers.OrderViewSerializer(many=True))
    def get(self, request: Request) -> Response:
        """The customer's newest orders."""
        return Response(intake.orders_of(customer_id(request), catalog.item_ids()))

    @extend_schema(request=serializers.OrderRequestSerializer, responses={202: serializers.AcceptedSerializer})
    def post(self, request: Request) -> Response:
        """Order: 202 means that the units are yours and the order will not be lost."""
        values = _valid(serializers.OrderRequestSerializer, request)
        admission = intake.place_order(customer_id(request), intake.OrderRequest(**values))
        url = reverse("order", args=[admission.order_id])
        headers = {"Location": url}
        if admission.replayed:
            headers["Idempotency-Replayed"] = "true"
        return Response({"id": str(admission.order_id), "status": "queued", "status_url": url}, 202, headers=headers)


class OrderDetail(APIView):
    """One order."""

    @extend_schema(responses=serializers.OrderViewSerializer)
    def get(self, request: Request, order_id: UUID) -> Response:
        """The order as it stands."""
        return Response(intake.order_of(customer_id(request), order_id))


class Pay(APIView):
    """The payment of an order."""

    @extend_schema(request=serializers.PayRequestSerializer, responses={202: serializers.OrderViewSerializer})
    def post(self, request: Request, order_id: UUID) -> Response:
        """Pay; a repetition is harmless."""
        method = _valid(serializers.PayRequestSerializer, request)["payment_method"]
        return Response(customer_actions.pay(customer_id(request), order_id, method), 202)


class Cancel(APIView):
    """The cancellation of an order."""

    @extend_schema(request=serializers.EmptySerializer, responses=serializers.OrderViewSerializer)
    def post(self, request: Request, order_id: UUID) -> Response:
        """Cancel; a repetition is harmless."""
        _valid(serializers.EmptySerializer, request)
        return Response(customer_actions.cancel(customer_id(request), order_id))
