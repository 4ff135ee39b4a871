"""Webhooks of payment providers."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from flashsale.core import messages
from payments import services

_SIGNED = "`t=<seconds since 1970>,v1=<hex HMAC-SHA256 of `<t>.<body>` under the shared secret>`. Old signatures are refused."


class Webhook(APIView):
    """Receive signed events from a payment provider."""

    authentication_classes: Any = ()
    permission_classes: Any = ()

    @extend_schema(
        parameters=[
            OpenApiParameter(services.signature_header(), str, OpenApiParameter.HEADER, required=True, description=_SIGNED)
        ],
        request=OpenApiTypes.OBJECT,
        responses={200: OpenApiTypes.OBJECT},
    )
    def post(self, request: Request, provider: str) -> Response:
        """Store an event. A repeated event has no second effect."""
        decided = services.receive_event(provider, request._request.body, request.headers)
        if decided:
            messages.publish("tasks.apply_outcomes", [str(pk) for pk in decided])
        return Response({"received": True})
