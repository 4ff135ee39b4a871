"""Sign-in of API clients: access tokens for a name and password."""

from typing import Any

from django.contrib.auth import authenticate
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from flashsale.accounts import tokens
from flashsale.accounts.errors import AccountEnded, CredentialRefused
from flashsale.web.strict import StrictSerializer, Text

_REFUSED = "No active account found with the given credentials"


class SignInSerializer(StrictSerializer):
    """Name and password."""

    username = Text(r"^[^\x00]{1,150}\Z", write_only=True)
    password = Text(r"^[^\x00]{1,4096}\Z", write_only=True)


class RefreshSerializer(StrictSerializer):
    """A refresh token."""

    refresh = Text(r"^[\x21-\x7e]{1,4096}\Z", write_only=True)


class TokensSerializer(serializers.Serializer[object]):
    access = serializers.CharField(help_text="For `Authorization: Bearer`. Valid for 15 minutes.")
    refresh = serializers.CharField(help_text="For getting the next two tokens. Can be used once within a day.")


class RevokedSerializer(serializers.Serializer[object]):
    """An empty body."""


class _Open(APIView):
    """A view without authentication. The request body contains the credential."""

    authentication_classes: Any = ()
    permission_classes: Any = ()

    def get_authenticate_header(self, request: Request) -> str:
        """Answer 401 instead of 403 for wrong credentials."""
        return 'Bearer realm="api"'

    @staticmethod
    def valid(serializer: type[StrictSerializer], request: Request) -> dict[str, Any]:
        """Validate the body.

        Raises:
            ValidationError: the body is invalid.
        """
        body = serializer(data=request.data)
        body.is_valid(raise_exception=True)
        return dict(body.validated_data)


class SignIn(_Open):
    """Access tokens."""

    @extend_schema(request=SignInSerializer, responses=TokensSerializer)
    def post(self, request: Request) -> Response:
        """Issue tokens for a name and password."""
        user = authenticate(request._request, **self.valid(SignInSerializer, request))
        if user is None:
            raise AuthenticationFailed(_REFUSED)
        try:
            return _answer(tokens.start(user))
        except AccountEnded as error:
            raise AuthenticationFailed(_REFUSED) from error


class Refresh(_Open):
    """Token refresh."""

    @extend_schema(request=RefreshSerializer, responses=TokensSerializer)
    def post(self, request: Request) -> Response:
        """Exchange a refresh token for new tokens. The old refresh token cannot be used again."""
        try:
            return _answer(tokens.renew(self.valid(RefreshSerializer, request)["refresh"]))
        except CredentialRefused as error:
            raise AuthenticationFailed(error.detail) from error


class Revoke(_Open):
    """Token revocation."""

    @extend_schema(request=RefreshSerializer, responses=RevokedSerializer)
    def post(self, request: Request) -> Response:
        """Revoke a refresh token and all tokens of the same sign-in. The response does not tell whether the token was valid."""
        tokens.end(self.valid(RefreshSerializer, request)["refresh"])
        return Response({})


def _answer(found: tokens.Tokens) -> Response:
    return Response({"access": found.access, "refresh": found.refresh})
