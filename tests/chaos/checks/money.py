"""Money: taken once, in the right cents, from those who pay, and given back to those who do not get the goods."""

from collections.abc import Iterator
from decimal import Decimal

from tests.chaos.evidence import OPEN_PAYMENT, Evidence
from tests.chaos.rows import Order, Payment


def one_capture_per_order(evidence: Evidence) -> Iterator[str]:
    """The provider took money at most once for an order."""
    for order in evidence.books.orders:
        charges = evidence.captured(order)
        if len(charges) > 1:
            yield f"order {order.id} of customer {order.customer}: captured {', '.join(charge.ref for charge in charges)}"


def _net(evidence: Evidence, order: Order) -> Decimal:
    charges = evidence.captured(order)
    back = sum((amount for charge in charges for amount in evidence.given_back.get(charge.key, [])), Decimal(0))
    return sum((charge.amount for charge in charges), Decimal(0)) - back


def paid_orders_have_their_money(evidence: Evidence) -> Iterator[str]:
    """captured - refunded is something for a paid order, and nothing for one that never got as far."""
    for order in evidence.books.orders:
        net = _net(evidence, order)
        if order.status == "paid" and net <= 0 < order.total:
            yield f"order {order.id} of customer {order.customer} is paid, the provider holds {net}"
        if order.status in ("reserved", "pending_payment", "rejected") and net:
            yield f"order {order.id} of customer {order.customer} is {order.status}, the provider holds {net}"


def late_money_is_refunded(evidence: Evidence) -> Iterator[str]:
    """What was captured for an order that was cancelled, or is refunded, has been given back."""
    for order in evidence.books.orders:
        net = _net(evidence, order)
        if order.status in ("cancelled", "refunded") and net:
            yield f"order {order.id} of customer {order.customer} is {order.status}, the provider holds {net}"


def every_cent_is_right(evidence: Evidence) -> Iterator[str]:
    """The price is that of the order's terms, and payment, charge and refund are the order's total, in its currency."""
    for order in evidence.books.orders:
        terms = evidence.terms(order.item, order.terms)
        if (order.price, order.currency) != (terms.price, terms.currency):
            yield f"order {order.id}: {order.price} {order.currency} a unit, the item cost {terms.price} {terms.currency}"
        expected = order.total, order.currency
        for what, amount, currency in _amounts(evidence, order):
            if (amount, currency) != expected:
                yield f"order {order.id} of {expected[0]} {expected[1]}: {what} of {amount} {currency}"


def _amounts(evidence: Evidence, order: Order) -> Iterator[tuple[str, Decimal, str]]:
    for payment in evidence.payments.get(order.id, []):
        yield "payment", payment.amount, payment.currency
        for charge in evidence.captures.get(payment.key, []):
            yield "charge", charge.amount, charge.currency
        for amount in evidence.given_back.get(payment.key, []):
            yield "refund", amount, order.currency


def provider_and_shop_agree(evidence: Evidence) -> Iterator[str]:
    """Payments are decided and told to their orders, as the provider has them; it holds nothing that no payment knows."""
    known = {payment.key for payment in evidence.books.payments}
    for charge in evidence.books.charges:
        if charge.key not in known and charge.outcome == "captured":
            yield f"charge {charge.ref} of {charge.amount}: no payment has its key {charge.key}"
    for payment in evidence.books.payments:
        whose = f"payment {payment.id} of order {payment.order}"
        if payment.order not in evidence.orders:
            yield f"{whose}: no such order"
        yield from (f"{whose} {what}" for what in _disagreements(evidence, payment))


def _disagreements(evidence: Evidence, payment: Payment) -> Iterator[str]:
    is_captured = payment.key in evidence.captures
    if payment.status in OPEN_PAYMENT:
        yield f"is still {payment.status}"
    elif is_captured != (payment.status == "succeeded"):
        yield f"is {payment.status}, the provider has {'captured' if is_captured else 'not captured'} it"
    elif not payment.applied:
        yield f"is {payment.status} and its order has not learnt of it"
    asked = [refund.status for refund in evidence.refunds.get(payment.id, [])]
    given = len(evidence.given_back.get(payment.key, []))
    if asked != ["succeeded"] * given:
        yield f"has the refunds {asked}, the provider gave it back {given} times"


def nobody_is_charged_unasked(evidence: Evidence) -> Iterator[str]:
    """A payment is by a method that its customer named, in the order or in a call to pay; paid needs one."""
    for order in evidence.books.orders:
        payments = evidence.payments.get(order.id, [])
        asked = [op for op in evidence.about.get(order.id, []) if op.kind == "pay" and op.customer == order.customer]
        named = {op.request.get("payment_method") for op in asked if op.result != "refused"}
        for payment in payments:
            if payment.method != (order.method if payment.origin == "chain" else None) and payment.method not in named:
                yield f"order {order.id}: customer {order.customer} did not ask to be charged by {payment.method}"
