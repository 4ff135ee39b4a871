"""Authentication by access token or signed session, both without a query."""

from typing import Any, cast

from rest_framework.authentication import SessionAuthentication
from rest_framework.request import Request
from rest_framework_simplejwt.authentication import JWTStatelessUserAuthentication
from rest_framework_simplejwt.exceptions import InvalidToken
from rest_framework_simplejwt.models import TokenUser
from rest_framework_simplejwt.tokens import Token

from flashsale.accounts import tokens
from flashsale.accounts.denials import denials
from flashsale.accounts.visitor import visitor_of


class AccessTokens(JWTStatelessUserAuthentication):
    """``Authorization: Bearer`` with an access token."""

    def get_user(self, validated_token: Token) -> Any:
        """
        Raises:
            InvalidToken: the token has no user, or was revoked.
        """
        user = super().get_user(validated_token)
        number = str(user.pk)
        if not number.isdecimal():
            raise InvalidToken("Token contained no recognizable user identification")
        if denials().refuses(int(number), tokens.issued_us(validated_token), str(validated_token.get(tokens.FAMILY, ""))):
            raise InvalidToken("Your session has ended. Sign in again.")
        return user


class SignedSessions(SessionAuthentication):
    """A browser session. Unsafe methods need a CSRF token."""

    def authenticate(self, request: Request) -> tuple[Any, None] | None:
        """
        Raises:
            PermissionDenied: the CSRF token is missing or wrong.
        """
        visitor = visitor_of(request._request)
        if visitor is None:
            return None
        self.enforce_csrf(request)
        return TokenUser(cast(Token, {"user_id": visitor.id, "username": visitor.name})), None
