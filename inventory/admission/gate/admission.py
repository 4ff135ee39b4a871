"""Purchase tokens and orders: what customers ask of the gate."""

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
    """``wake``: nobody has told the dispatcher yet, so the caller must."""

    order_id: UUID
    replayed: bool
    wake: bool
    shadowed: bool = False


def plain(number: Decimal) -> str:
    """Without exponent and trailing zeros, so that equal numbers are equal texts; as ``terms.lua`` makes them."""
    return f"{number.normalize():f}"


def issue_token(item: int, customer: int) -> IssuedToken:
    """See :func:`issuing`."""
    return run(issuing(item, customer))


def issuing(item: int, customer: int) -> Steps[IssuedToken]:
    """A purchase token for this customer and item, good for ``PURCHASE_TOKEN_TTL_S`` seconds, at the price of this moment.

    Raises:
        NotOpen, Paused, Ended, SoldOut, GateMissing, GateUnavailable: nothing was issued.
        RateLimited: the customer has ``PURCHASE_TOKENS_PER_CUSTOMER`` unused ones.
    """
    token = new_purchase_token(item)
    answer = yield from trip(
        _ISSUE,
        [keys.meta(item), keys.stock(item), keys.token(item, token), keys.tokens(item, customer)],
        [customer, settings.PURCHASE_TOKEN_TTL_S, token, settings.PURCHASE_TOKENS_PER_CUSTOMER],
    )
    code = AdmitCode(answer[0])
    if code is AdmitCode.RATE_LIMITED:
        raise RateLimited("You have too many unused permissions to buy this.", retry_after=int(answer[1]) / 1_000_000)
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
    """Give or deny units in one round trip; a refusal changes nothing.

    Args:
        item: the item that the token names.
        digest: hexadecimal SHA-256 of the request, to tell a repetition from another request.
        limit: the item's rate as ``redis_store.encoded`` writes a token bucket; empty for none. In units; an order of more
            than the burst is charged the whole burst.
        rule: the name of the rule that the limit belongs to.
        unit_price: the price that the customer was shown, where it is known.

    Raises:
        PriceChanged: an order under this token costs something else than ``unit_price``.
        GateUnavailable: the order may have been admitted; a repetition tells.
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
    """See :func:`admitting`, whose arguments it takes."""
    return run(admitting(item, **order))
