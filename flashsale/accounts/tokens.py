"""Access and refresh tokens for API clients. A refresh token can be used once. A second use means that it was stolen."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from django.db import connection, transaction
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from flashsale.accounts import revoke as revocations
from flashsale.accounts.errors import AccountEnded, CredentialRefused
from flashsale.accounts.instants import issue_us
from flashsale.accounts.models import Revocation, TokenFamily
from flashsale.core.clock import from_us, now, to_us

FAMILY, ISSUED_US = "sid", "iat_us"
# If the answer is lost, the client can repeat the request with the old token for this long and gets the same successor.
REPEAT_WITHIN = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Tokens:
    """A pair of access and refresh token."""

    access: str
    refresh: str


def issued_us(token: Any) -> int:
    """Time of issue in microseconds. Tokens of an earlier version contain whole seconds only."""
    return int(token.get(ISSUED_US) or int(token.get("iat", 0)) * 1_000_000)


def start(user: Any) -> Tokens:
    """Issue the first tokens of a sign-in.

    Raises:
        AccountEnded: the account was blocked or deleted, or its password was changed in the meantime.
    """
    with transaction.atomic():
        at_us = issue_us(user.pk, password=user.password)
        family = TokenFamily(user_id=user.pk, current=uuid4().hex, rotated_at=from_us(at_us))
        tokens = _tokens(family, at_us)
        family.save(force_insert=True)
    return tokens


def renew(raw: str) -> Tokens:
    """Exchange a refresh token for new tokens. Repeating this within ``REPEAT_WITHIN`` returns the same refresh token.

    Raises:
        CredentialRefused: the token is expired, revoked, forged or used, or its account has ended. A second use revokes the
            family.
    """
    token = _read(raw)
    if token is None:
        raise CredentialRefused
    with transaction.atomic():
        family = _family(token)
        tokens = None if family is None else _next(family, token)
        if tokens is not None and family is not None:
            family.save()
    if tokens is None:
        if family is not None and family.revoked_at is None:
            _end(family)
        raise CredentialRefused
    return tokens


def end(raw: str) -> None:
    """Revoke the family of a refresh token, including its access tokens. Invalid tokens are ignored. May run twice."""
    token = _read(raw)
    if token is None:
        return
    with transaction.atomic():
        family = _family(token)
    if family is not None and family.revoked_at is None:
        _end(family)


def _read(raw: str) -> RefreshToken | None:
    try:
        return RefreshToken(raw)  # type: ignore[arg-type]
    except TokenError:
        return None


def _family(token: RefreshToken) -> TokenFamily | None:
    """Lock and return the token's family. Creates it for a token of an earlier version."""
    try:
        name, user = UUID(str(token.get(FAMILY) or token["jti"])), int(token["user_id"])
    except (KeyError, ValueError):
        return None
    if FAMILY not in token:
        founder = TokenFamily(id=name, user_id=user, current=str(token["jti"]), expires_at=now() + token.lifetime)
        TokenFamily.objects.bulk_create([founder], ignore_conflicts=True)
    return TokenFamily.objects.select_for_update().filter(pk=name, user_id=user).first()


def _next(family: TokenFamily, token: RefreshToken) -> Tokens | None:
    """The next tokens of the family, or None if the token is not valid."""
    if family.revoked_at is not None:
        return None
    try:
        at_us = issue_us(family.user_id)
    except AccountEnded:
        return None
    if Revocation.objects.filter(user_id=family.user_id, at__gt=from_us(issued_us(token))).exists():
        return None
    moment, jti = from_us(at_us), str(token["jti"])
    if jti == family.current:
        family.previous, family.current, family.rotated_at = jti, uuid4().hex, moment
    elif jti != family.previous or moment - family.rotated_at > REPEAT_WITHIN:
        return None
    return _tokens(family, at_us)


def _end(family: TokenFamily) -> None:
    TokenFamily.objects.filter(pk=family.pk, revoked_at=None).update(revoked_at=now())
    revocations.session(family.pk.hex)


def _tokens(family: TokenFamily, at_us: int) -> Tokens:
    refresh = RefreshToken()
    refresh["user_id"], refresh[FAMILY], refresh[ISSUED_US] = str(family.user_id), family.pk.hex, at_us
    refresh["jti"] = family.current
    family.expires_at = now() + refresh.lifetime
    return Tokens(access=str(access_token(family.user_id, at_us, family=family.pk.hex)), refresh=str(refresh))


def access_token(user_id: int, at_us: int, *, family: str = "", lifetime: timedelta | None = None) -> AccessToken:
    """An access token issued at ``at_us``, see :func:`flashsale.accounts.instants.issue_us`."""
    access = AccessToken()
    access["user_id"], access[ISSUED_US] = str(user_id), at_us
    if family:
        access[FAMILY] = family
    if lifetime is not None:
        access.set_exp(lifetime=lifetime)
    return access


def database_now_us() -> int:
    """PostgreSQL's time, in microseconds since 1970."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return to_us(cursor.fetchone()[0])
