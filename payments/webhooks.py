"""What payment providers tell us."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from flashsale.core import messages
from flashsale.core.errors import NotFound
from payments import services

SIGNATURE_HEADER = "Sandbox-Signature"
_SIGNED = "`t=<seconds since 1970>,v1=<hex HMAC-SHA256 of `<t>.<body>` under the shared secret>`; an old one is refused."


class Webhook(APIView):
    """Signed events of a provider."""

    authentication_classes: Any = ()
    permission_classes: Any = ()

    @extend_schema(
        parameters=[OpenApiParameter(SIGNATURE_HEADER, str, OpenApiParameter.HEADER, required=True, description=_SIGNED)],
        request=OpenApiTypes.OBJECT,
        responses={200: OpenApiTypes.OBJECT},
    )
    def post(self, request: Request, provider: str) -> Response:
        """Take an event; a repetition has no second effect."""
        if provider != "sandbox":
            raise NotFound("There is no such provider.")
        signature = request.headers.get(SIGNATURE_HEADER, "")
        decided = services.receive_event(request._request.body, signature)
        if decided:
            messages.publish("tasks.apply_outcomes", [str(pk) for pk in decided])
        return Response({"received": True})
