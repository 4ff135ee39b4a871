"""The order API: validate, admit, answer."""

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.urls import reverse
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from flashsale.core.steps import run
from flashsale.web.answer import sent
from flashsale.web.customer import customer_id
from flashsale.web.strict import StrictSerializer
from inventory import catalog
from orders import answers, cursor, customer_actions, placement, serializers, standing
from orders.selectors import LONGEST_PAGE


def _valid(serializer: type[StrictSerializer], request: Request) -> dict[str, Any]:
    body = serializer(data=request.data)
    body.is_valid(raise_exception=True)
    return body.validated_data  # type: ignore[no-any-return]


class Orders(APIView):
    """A customer's orders."""

    @extend_schema(
        parameters=[serializers.PageSerializer],
        responses={
            (200, "application/json"): OpenApiResponse(
                serializers.OrderViewSerializer(many=True),
                description='Newest first. If there are more, a `Link` header with `rel="next"` points to the next page.',
            )
        },
    )
    def get(self, request: Request) -> Response:
        """The customer's orders, newest first."""
        customer, query = customer_id(request), serializers.PageSerializer(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        limit = query.validated_data.get("limit", LONGEST_PAGE)
        sent = query.validated_data.get("cursor")
        before = cursor.load(customer, sent) if sent is not None else None
        page, last = placement.orders_of(customer, catalog.item_ids(), limit=limit, before=before)
        headers = {}
        if last:
            more = urlencode({"limit": limit, "cursor": cursor.dump(customer, last)})
            headers["Link"] = f'<{request.build_absolute_uri(reverse("orders"))}?{more}>; rel="next"'
        return Response(page, headers=headers)

    @extend_schema(request=serializers.OrderRequestSerializer, responses={202: serializers.AcceptedSerializer})
    def post(self, request: Request) -> Response:
        """Place an order. 202 means that the units are reserved for you and the order will not be lost."""
        values, customer = _valid(serializers.OrderRequestSerializer, request), customer_id(request)
        return sent(run(answers.place(customer, values)))


class SaleMe(APIView):
    """The state that a sale page needs after a reload."""

    @extend_schema(responses=serializers.StandingSerializer)
    def get(self, request: Request, slug: str) -> Response:
        """Your waiting-room tickets, your newest orders of the sale, and how many units of each item you may still buy.

        Counts as a poll of each ticket. If part of the shop is down, `orders` and `may_buy` contain what is still known.
        """
        found = standing.of_customer(customer_id(request), catalog.items_of(slug))
        return Response(found, headers={"Cache-Control": "no-store"})


class OrderDetail(APIView):
    """One order."""

    @extend_schema(responses=serializers.OrderViewSerializer)
    def get(self, request: Request, order_id: UUID) -> Response:
        """The order's current state."""
        return sent(run(answers.one(customer_id(request), order_id)))


class Pay(APIView):
    """Payment of an order."""

    @extend_schema(request=serializers.PayRequestSerializer, responses={202: serializers.OrderViewSerializer})
    def post(self, request: Request, order_id: UUID) -> Response:
        """Pay for the order. Repeating the request is harmless."""
        method = _valid(serializers.PayRequestSerializer, request)["payment_method"]
        return Response(customer_actions.pay(customer_id(request), order_id, method), 202)


class PaymentAction(APIView):
    """What a payment waits for."""

    @extend_schema(request=serializers.EmptySerializer, responses=serializers.ActionSerializer)
    def post(self, request: Request, order_id: UUID) -> Response:
        """Where you confirm a payment that needs it, by 3-D Secure for example. Asks the payment provider; changes nothing."""
        _valid(serializers.EmptySerializer, request)
        action = customer_actions.payment_action(customer_id(request), order_id)
        return Response(action, headers={"Cache-Control": "no-store"})


class Cancel(APIView):
    """Cancellation of an order."""

    @extend_schema(request=serializers.EmptySerializer, responses=serializers.OrderViewSerializer)
    def post(self, request: Request, order_id: UUID) -> Response:
        """Cancel the order. Repeating the request is harmless."""
        _valid(serializers.EmptySerializer, request)
        return Response(customer_actions.cancel(customer_id(request), order_id))
