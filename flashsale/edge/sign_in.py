"""Sign-in for programs: access tokens for a password, as strict about what it takes as the rest of the API."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework_simplejwt.serializers import TokenObtainPairSerializer, TokenRefreshSerializer
from rest_framework_simplejwt.views import TokenObtainPairView, TokenRefreshView

from flashsale.edge.strict import StrictSerializer, Text


class SignInSerializer(StrictSerializer, TokenObtainPairSerializer):
    """Name and password."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["username"] = Text(r"^[^\x00]{1,150}\Z", write_only=True)
        self.fields["password"] = Text(r"^[^\x00]{1,4096}\Z", write_only=True)


class RefreshSerializer(StrictSerializer, TokenRefreshSerializer):
    """A refresh token."""

    refresh = Text(r"^[\x21-\x7e]{1,4096}\Z")


class TokensSerializer(serializers.Serializer[object]):
    access = serializers.CharField(help_text="For `Authorization: Bearer`, good for an hour.")
    refresh = serializers.CharField(help_text="For new access tokens, good for a day.")


class AccessSerializer(serializers.Serializer[object]):
    access = serializers.CharField()


class SignIn(TokenObtainPairView):
    """Access tokens."""

    serializer_class = SignInSerializer

    @extend_schema(request=SignInSerializer, responses=TokensSerializer)
    def post(self, request: Request, *args: Any, **options: Any) -> Response:
        """Tokens for a name and its password."""
        return _unstored(super().post(request, *args, **options))


class Refresh(TokenRefreshView):
    """A further access token."""

    serializer_class = RefreshSerializer

    @extend_schema(request=RefreshSerializer, responses=AccessSerializer)
    def post(self, request: Request, *args: Any, **options: Any) -> Response:
        """An access token for a refresh token."""
        return _unstored(super().post(request, *args, **options))


def _unstored(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response
