"""Many customers at once, for load tools."""

from collections.abc import Iterator
from datetime import timedelta

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password

from flashsale.accounts import names, tokens

_CHUNK = 2_000


def issue(prefix: str, count: int, *, lifetime: timedelta | None = None) -> Iterator[tuple[str, str]]:
    """``count`` customers named ``<prefix><number>``, made where they are missing, with an access token for each.

    An account that has the name in other letters is that customer; a blocked one gets no token and is left out.

    Args:
        lifetime: of the tokens; as long as a customer's when left out.
    """
    for start in range(0, count, _CHUNK):
        wanted = [f"{prefix}{number}" for number in range(start, min(start + _CHUNK, count))]
        _make(wanted, make_password(None))
        at_us = tokens.database_now_us()
        for account in names.named(wanted).order_by("pk"):
            if account.is_active:
                yield account.username, str(tokens.access_token(account.pk, at_us, lifetime=lifetime))


def with_password(wanted: list[str], password: str) -> list[str]:
    """Customers of these names, made where they are missing, who sign in with this password; their names as they are kept."""
    hashed = make_password(password)
    _make(wanted, hashed)
    names.named(wanted).update(password=hashed)
    return [account.username for account in names.named(wanted).order_by("pk") if account.is_active]


def _make(wanted: list[str], hashed: str) -> None:
    model = get_user_model()
    model.objects.bulk_create([model(username=name, password=hashed) for name in wanted], ignore_conflicts=True)
