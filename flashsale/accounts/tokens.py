"""Access and refresh tokens for programs. A refresh token is good for one use; what is used twice was stolen."""

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
# A client whose answer was lost asks again with the token it has: it gets the same successor for this long.
REPEAT_WITHIN = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a client gets."""

    access: str
    refresh: str


def issued_us(token: Any) -> int:
    """When a token was issued, in microseconds; one of an earlier version says the second only, and that one's start counts."""
    return int(token.get(ISSUED_US) or int(token.get("iat", 0)) * 1_000_000)


def start(user: Any) -> Tokens:
    """The first tokens of a sign-in.

    Raises:
        AccountEnded: the account was blocked, deleted or given another password meanwhile.
    """
    with transaction.atomic():
        at_us = issue_us(user.pk, password=user.password)
        family = TokenFamily(user_id=user.pk, current=uuid4().hex, rotated_at=from_us(at_us))
        tokens = _tokens(family, at_us)
        family.save(force_insert=True)
    return tokens


def renew(raw: str) -> Tokens:
    """The next tokens for a refresh token. The same one again within ``REPEAT_WITHIN`` gets the same refresh token.

    Raises:
        CredentialRefused: expired, revoked, forged, used before, or its account has ended. A second use ends the family.
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
    """End the family of a refresh token, its access tokens too. May run twice; what is no token of ours is ignored."""
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
    """The locked family of a token. One of an earlier version has none yet and founds its own."""
    try:
        name, user = UUID(str(token.get(FAMILY) or token["jti"])), int(token["user_id"])
    except (KeyError, ValueError):
        return None
    if FAMILY not in token:
        founder = TokenFamily(id=name, user_id=user, current=str(token["jti"]), expires_at=now() + token.lifetime)
        TokenFamily.objects.bulk_create([founder], ignore_conflicts=True)
    return TokenFamily.objects.select_for_update().filter(pk=name, user_id=user).first()


def _next(family: TokenFamily, token: RefreshToken) -> Tokens | None:
    """The next tokens of a family, None when the token may not be used."""
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
    """PostgreSQL's clock, in microseconds since the epoch."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return to_us(cursor.fetchone()[0])
