"""The sale that is attacked: little stock, a payment window of seconds, customers who come more than once."""

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

WINDOW_S = 4.0
_ITEMS = (("lamp", 40, 1, "19.90"), ("chair", 60, 2, "49.00"), ("mug", 90, 4, "7.35"))
_TOKENS_LAST = timedelta(hours=3)  # longer than any run
_GONE = 25  # one in so many
_SPARE = ("pin", 5_000, 4, "1.15")  # never sold out, so that there is something to buy at the end


@dataclass(frozen=True, slots=True)
class Customer:
    """``credentials``: the headers that say who they are, of an access token or of a browser's session."""

    id: int
    credentials: dict[str, str] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Stage:
    """``per_customer``: sku -> units a customer may have; ``spare``: an sku with plenty; ``prices``: by sku.

    ``gone``: customers whose account was deleted while their access token is still good; the gate admits their orders and the
    ledger cannot take them.
    """

    slug: str
    per_customer: dict[str, int]
    spare: str
    customers: list[Customer]
    gone: list[Customer]
    prices: dict[str, str]


def open_sale(slug: str, *, seconds: float, customers: int, scale: float = 1.0) -> Stage:
    """A sale that is open now, its gates warmed.

    Args:
        seconds: how long it stays open.
        scale: of the stock.
    """
    from flashsale.core.clock import now
    from inventory import services
    from tasks.repair import gate_sync

    sale = services.create_sale(
        slug=slug,
        name=slug,
        opens_at=now() - timedelta(seconds=1),
        closes_at=now() + timedelta(seconds=seconds),
        payment_window=timedelta(seconds=WINDOW_S),
    )
    items = [
        services.add_item(
            sale=sale, sku=f"{slug}-{sku}", name=sku, units=max(1, int(units * scale)), price=Decimal(price), per_customer=most
        )
        for sku, units, most, price in (*_ITEMS, _SPARE)
    ]
    gate_sync.refresh_gates([item.pk for item in items])
    per_customer = {f"{slug}-{sku}": most for sku, _, most, _ in (*_ITEMS, _SPARE)}
    return Stage(
        slug,
        per_customer,
        f"{slug}-{_SPARE[0]}",
        _customers(f"{slug}-", customers),
        _gone(f"{slug}-gone-", max(2, customers // _GONE)),
        {f"{slug}-{sku}": price for sku, _, _, price in (*_ITEMS, _SPARE)},
    )


def _gone(prefix: str, count: int) -> list[Customer]:
    from django.contrib.auth import get_user_model

    from flashsale.accounts import tokens

    gone = _customers(prefix, count)
    get_user_model().objects.filter(pk__in=[customer.id for customer in gone]).delete()
    # Issued after the deletion, as far as anybody can tell: the shop goes on taking them for good.
    later_us = tokens.database_now_us() + int(_TOKENS_LAST / timedelta(microseconds=1))
    return [
        Customer(each.id, {"Authorization": f"Bearer {tokens.access_token(each.id, later_us, lifetime=_TOKENS_LAST)}"})
        for each in gone
    ]


def _customers(prefix: str, count: int) -> list[Customer]:
    from django.contrib.auth import get_user_model

    from flashsale.loadtest import customers

    tokens = dict(customers.issue(prefix, count, lifetime=_TOKENS_LAST))
    users = get_user_model().objects.filter(username__in=tokens).order_by("pk")
    return [
        Customer(user.pk, _session(user) if number % 2 else {"Authorization": f"Bearer {tokens[user.get_username()]}"})
        for number, user in enumerate(users)
    ]


def _session(user: "AbstractBaseUser") -> dict[str, str]:
    """What a browser sends whose user has signed in."""
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.middleware.csrf import _get_new_csrf_string

    from flashsale.accounts import sessions

    session = sessions.SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    sessions.start(session, user)
    session.save()
    secret = _get_new_csrf_string()
    cookies = {settings.SESSION_COOKIE_NAME: session.session_key, settings.CSRF_COOKIE_NAME: secret}
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()), "X-CSRFToken": secret}
