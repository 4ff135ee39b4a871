"""Issue purchase tokens and admit orders."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings

from flashsale.core.clock import from_us
from flashsale.core.errors import RateLimited
from flashsale.core.ids import new_purchase_token
from flashsale.core.lua import Script
from flashsale.core.steps import Steps, run
from flashsale.ratelimit.stores.redis_store import TOKEN_BUCKET
from inventory.admission import keys
from inventory.admission.codes import AdmitCode
from inventory.admission.gate.calls import CLOSED, LUA, TERMS, WHOLE, refuse, trip
from inventory.errors import PriceChanged

_ISSUE = Script(LUA / "issue-4.lua", parts=[CLOSED, TERMS])
_ADMIT = Script(LUA / "admit-14.lua", parts=[CLOSED, TERMS, WHOLE, TOKEN_BUCKET])


@dataclass(frozen=True, slots=True)
class IssuedToken:
    token: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Admission:
    """``wake``: no wake-up has been sent yet, so the caller must send it."""

    order_id: UUID
    replayed: bool
    wake: bool
    shadowed: bool = False


def plain(number: Decimal) -> str:
    """Format without exponent and trailing zeros, so that equal numbers give equal texts. ``terms.lua`` does the same."""
    return f"{number.normalize():f}"


def issue_token(item: int, customer: int) -> IssuedToken:
    """See :func:`issuing`."""
    return run(issuing(item, customer))


def issuing(item: int, customer: int) -> Steps[IssuedToken]:
    """Issue a purchase token for this customer and item at the current price, valid for ``PURCHASE_TOKEN_TTL_S`` seconds.

    Raises:
        NotOpen, Paused, Ended, SoldOut, GateMissing, GateUnavailable: nothing was issued.
        RateLimited: the customer has ``PURCHASE_TOKENS_PER_CUSTOMER`` unused tokens.
    """
    token = new_purchase_token(item)
    answer = yield from trip(
        _ISSUE,
        [keys.meta(item), keys.stock(item), keys.token(item, token), keys.tokens(item, customer)],
        [customer, settings.PURCHASE_TOKEN_TTL_S, token, settings.PURCHASE_TOKENS_PER_CUSTOMER],
    )
    code = AdmitCode(answer[0])
    if code is AdmitCode.RATE_LIMITED:
        raise RateLimited("You have too many unused purchase tokens for this item.", retry_after=int(answer[1]) / 1_000_000)
    if code is not AdmitCode.ADMITTED:
        refuse(code)
    return IssuedToken(token, from_us(int(answer[1])))


def admitting(
    item: int,
    *,
    customer: int,
    sku: str,
    units: int,
    token: str,
    order_id: UUID,
    source: str,
    seq: str,
    digest: str,
    method: str,
    limit: str = "",
    rule: str = "",
    unit_price: Decimal | None = None,
) -> Steps[Admission]:
    """Admit or refuse an order in one round trip. A refusal changes nothing.

    Args:
        item: the item that the token names.
        digest: hexadecimal SHA-256 of the request. It tells a repeated request from a different one.
        limit: the item's rate in units, as a token bucket from ``redis_store.encoded``; empty for none. An order of more units
            than the burst costs the whole burst.
        rule: the name of the rule that the limit belongs to.
        unit_price: the price that the customer was shown, if known.

    Raises:
        PriceChanged: the token's price differs from ``unit_price``.
        GateUnavailable: the order may have been admitted. Repeat the call to find out.
        Refused, Invalid: one class for each code of ``AdmitCode``.
    """
    answer = yield from trip(
        _ADMIT,
        [
            keys.meta(item),
            keys.stock(item),
            keys.token(item, token),
            keys.spent(item, token),
            keys.receipt(source, seq),
            keys.buyers(item),
            keys.held(item),
            keys.queued(item),
            keys.admitted(item),
            keys.rate(item, rule),
            keys.called(item),
            keys.tickets(item),
            keys.tokens(item, customer),
            keys.unpaid(item),
        ],
        [
            customer,
            sku,
            units,
            str(order_id),
            digest,
            source,
            seq,
            method,
            settings.RECEIPT_TTL_S,
            settings.PURCHASE_TOKEN_TTL_S,
            item,
            limit,
            token,
            "" if unit_price is None else plain(unit_price),
            settings.UNPAID_ORDERS_PER_ITEM,
        ],
    )
    code = AdmitCode(answer[0])
    if code is AdmitCode.RATE_LIMITED:
        raise RateLimited(retry_after=int(answer[1]) / 1_000_000)
    if code is AdmitCode.PRICE_CHANGED:
        raise PriceChanged(unit_price=answer[1])
    if code not in (AdmitCode.ADMITTED, AdmitCode.REPLAYED):
        refuse(code)
    return Admission(UUID(answer[1]), code is AdmitCode.REPLAYED, bool(answer[2]), shadowed=bool(answer[3]))


def admit(item: int, **order: Any) -> Admission:
    """See :func:`admitting`. It takes the same arguments."""
    return run(admitting(item, **order))
