"""Place an order: one round trip to the gate. PostgreSQL is used only if the gate no longer knows the order."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import partial
from hashlib import sha256
from uuid import UUID

from django.conf import settings
from django.db import Error

from flashsale.core.clock import now
from flashsale.core.database.patience import patience
from flashsale.core.errors import FlashsaleError, RateLimited
from flashsale.core.ids import MAX_ITEM, item_of_order, item_of_token, made_at
from flashsale.core.metrics import ADMISSIONS, LIMIT_DECISIONS, child
from flashsale.core.steps import Aside, Blocking, Steps, run
from flashsale.ratelimit.headers import headers
from flashsale.ratelimit.in_process import rules_at
from flashsale.ratelimit.limit import SECOND_US, Reading
from flashsale.ratelimit.limiter import Answer, Decision
from flashsale.ratelimit.rule import Rule
from flashsale.ratelimit.stores.redis_store import encoded
from inventory import selectors as inventory
from inventory.admission import gate
from inventory.admission.admitted import AdmittedOrder
from inventory.admission.wake_up import wake
from inventory.errors import GateMissing, GateUnavailable, IdempotencyMismatch, SeqTaken, TokenInvalid, TokenUsed
from orders import order_ids, selectors, services
from orders.errors import OrderInDoubt, OrderNotFound
from orders.states import OrderStatus

_STATUS_PATIENCE_S = 1.0  # timeout of the status that a replayed answer includes


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """A customer's order request."""

    token: str
    sku: str
    quantity: int
    source: str
    seq: str
    payment_method: str = ""
    unit_price: Decimal | None = None

    def digest(self) -> str:
        """SHA-256 of all fields except (source, seq). Tells a repeated request from a different one."""
        parts = [self.token, self.sku, str(self.quantity), self.payment_method]
        if self.unit_price is not None:  # left out if None, because stored digests from before this field must stay equal
            parts.append(gate.plain(self.unit_price))
        return sha256("\n".join(parts).encode()).hexdigest()


def place_order(customer: int, request: OrderRequest) -> gate.Admission:
    """See :func:`placing`."""
    return run(placing(customer, request))


def placing(customer: int, request: OrderRequest) -> Steps[gate.Admission]:
    """Admit an order, or repeat the answer of an earlier request. May run twice.

    Raises:
        PriceChanged: the price differs from ``unit_price``. No order was placed.
        Refused, Invalid, GateUnavailable: no order was placed.
        OrderInDoubt: no order was placed now. Whether an earlier request placed one is unknown until PostgreSQL is back.
    """
    try:
        admission = yield from _admitting(customer, request)
    except FlashsaleError as error:
        child(ADMISSIONS, error.code).inc()
        raise
    child(ADMISSIONS, "replayed" if admission.replayed else "admitted").inc()
    if admission.wake:
        yield Aside(partial(wake, item_of_order(admission.order_id)))
    return admission


def _admitting(customer: int, request: OrderRequest) -> Steps[gate.Admission]:
    rule = _admission_rule()
    # Item 0 has no gate. The script still checks the receipt, so that a replay is recognised before the invalid token.
    item = item_of_token(request.token) or 0
    if item > MAX_ITEM:  # does not fit into an order id
        item = 0
    try:
        admission = yield from gate.admitting(
            item,
            customer=customer,
            sku=request.sku,
            units=request.quantity,
            token=request.token,
            order_id=order_ids.new(item or 1, customer),
            source=request.source,
            seq=request.seq,
            digest=request.digest(),
            method=request.payment_method,
            limit=encoded(rule.limit, rule.on_limit != "log") if rule else "",
            rule=rule.name if rule else "",
            unit_price=request.unit_price,
        )
    except RateLimited as refusal:
        if rule:
            child(LIMIT_DECISIONS, rule.name, "limited").inc()
            refusal.headers = _headers(rule, item, refusal.retry_after or 0)
        raise
    except (TokenInvalid, TokenUsed, GateMissing) as refusal:
        replayed: gate.Admission | None = yield Blocking(partial(_from_ledger, customer, request))
        if replayed:
            return replayed
        if isinstance(refusal, GateMissing) and not (yield Blocking(partial(_has_gate, item))):
            raise TokenInvalid from refusal
        raise

    if rule:
        child(LIMIT_DECISIONS, rule.name, "shadowed" if admission.shadowed else "passed").inc()
    return admission


def _admission_rule() -> Rule | None:
    """The rule of this process's fleet, or else the rule for all fleets."""
    return min(rules_at("admission"), key=lambda rule: rule.fleet == "all", default=None)


def _headers(rule: Rule, item: int, retry_after_s: float) -> dict[str, str]:
    until_us = int(retry_after_s * SECOND_US)
    answer = Answer(rule, str(item), Reading(False, 0, 0, until_us, until_us))
    return headers(Decision(0, answer, answers=(answer,)))


def _from_ledger(customer: int, request: OrderRequest) -> gate.Admission | None:
    """The order of a (source, seq) whose receipt has expired in the gate.

    Raises:
        OrderInDoubt: PostgreSQL cannot be reached.
    """
    try:
        found = selectors.by_source_seq(request.source, request.seq)
    except Error as error:
        raise OrderInDoubt(retry_after=1) from error
    if found is None:
        return None
    order_id, owner, digest = found
    if owner != customer:
        raise SeqTaken
    if digest != request.digest():
        raise IdempotencyMismatch
    return gate.Admission(order_id, replayed=True, wake=False)


def _has_gate(item: int) -> bool:
    """Whether the item should have a gate. If so, a missing gate is rebuilt in a moment."""
    try:
        return inventory.is_watched(item)
    except Error:
        return bool(item)


def order_of(customer: int, order_id: UUID) -> dict[str, object]:
    """A customer's order, from its admission on.

    The gate is read before PostgreSQL, so that an order that moves in between is found in PostgreSQL. If neither knows an id
    that was issued to this customer, the order was lost with the gate. This is recorded and final.

    Raises:
        OrderNotFound: the customer has no such order.
        OrderInDoubt: the order was issued to this customer, but its state is temporarily unavailable.
    """
    try:
        seen = gate.look_for(item_of_order(order_id), customer, order_id)
    except GateUnavailable:
        seen = None
    try:
        rows = selectors.of_customer(customer, [order_id])
    except Error:
        # A claimed order may be past "queued", and the customer may have seen the later status.
        if not (seen and seen.queued) or gate.may_be_claimed(seen.queued):
            raise
        rows = []
    if rows:
        return rows[0]
    if seen and seen.queued:
        return selectors.waiting_view(seen.queued)
    if not order_ids.was_told(order_id, customer):
        raise OrderNotFound
    _require_lost(order_id, seen)
    services.lose(order_id, customer, item_of_order(order_id), made_at(order_id))
    lost = selectors.of_customer(customer, [order_id])
    if not lost:  # recorded for another customer, which only staff can have done
        raise OrderInDoubt(retry_after=1)
    return lost[0]


def status_of(customer: int, order_id: UUID) -> str | None:
    """The current status of an admitted order. None if only PostgreSQL knows it and PostgreSQL is down.

    The gate is read before PostgreSQL, so that an order that moves in between is found in PostgreSQL.
    """
    try:
        seen = gate.look_for(item_of_order(order_id), customer, order_id)
        if seen.queued and not gate.may_be_claimed(seen.queued):
            return str(OrderStatus.QUEUED)
    except GateUnavailable:
        seen = None
    try:
        with patience(_STATUS_PATIENCE_S):
            known = selectors.status_of(order_id)
    except Error:
        return None
    return known or (str(OrderStatus.QUEUED) if seen and seen.queued else None)


def _require_lost(order_id: UUID, seen: gate.Sight | None) -> None:
    is_old = now() - made_at(order_id) > timedelta(seconds=settings.LOST_ORDER_AFTER_S)
    if seen is None or seen.is_held or not is_old:
        raise OrderInDoubt(retry_after=1)
    item = item_of_order(order_id)
    is_known = seen.is_whole and gate.versions([item])[item] is not None  # an incomplete gate may have lost the order
    if not is_known and _has_gate(item):
        raise OrderInDoubt(retry_after=1)


def orders_of(
    customer: int, items: list[int], *, limit: int = selectors.LONGEST_PAGE, before: UUID | None = None
) -> tuple[list[dict[str, object]], UUID | None]:
    """A page of a customer's orders, newest first, and the id at which the next page starts (None on the last page).

    The gate is read before PostgreSQL, so that an order that moves in between is found in PostgreSQL.

    Args:
        items: items whose gates are searched for orders without a row.
        limit: maximum length of the page.
        before: only orders with a smaller id.
    """
    queued = [order for order in _queued(items, customer) if before is None or order.id < before]
    rows = selectors.of_customer(customer, limit=limit + 1, before=before)
    known = {row["id"] for row in rows}
    waiting = [selectors.waiting_view(order) for order in queued if str(order.id) not in known]
    found = sorted(waiting + rows, key=lambda order: str(order["id"]), reverse=True)
    page = found[:limit]
    return page, UUID(str(page[-1]["id"])) if len(found) > limit else None


def _queued(items: list[int], customer: int) -> list[AdmittedOrder]:
    try:
        return gate.queued_of(items, customer)
    except GateUnavailable:
        return []
