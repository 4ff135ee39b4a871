"""Create many customers at once, for load tests."""

from collections.abc import Iterator
from datetime import timedelta

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password

from flashsale.accounts import names, tokens

_CHUNK = 2_000


def issue(prefix: str, count: int, *, lifetime: timedelta | None = None) -> Iterator[tuple[str, str]]:
    """Create ``count`` customers named ``<prefix><number>`` where missing, and yield (username, access token) for each.

    An existing account with the same name in another case is used. Blocked accounts are left out.

    Args:
        lifetime: lifetime of the tokens; default: the lifetime of regular tokens.
    """
    for start in range(0, count, _CHUNK):
        wanted = [f"{prefix}{number}" for number in range(start, min(start + _CHUNK, count))]
        _make(wanted, make_password(None))
        at_us = tokens.database_now_us()
        for account in names.named(wanted).order_by("pk"):
            if account.is_active:
                yield account.username, str(tokens.access_token(account.pk, at_us, lifetime=lifetime))


def with_password(wanted: list[str], password: str) -> list[str]:
    """Create customers with these names where missing, set their password, and return their stored names."""
    hashed = make_password(password)
    _make(wanted, hashed)
    names.named(wanted).update(password=hashed)
    return [account.username for account in names.named(wanted).order_by("pk") if account.is_active]


def _make(wanted: list[str], hashed: str) -> None:
    model = get_user_model()
    model.objects.bulk_create([model(username=name, password=hashed) for name in wanted], ignore_conflicts=True)
