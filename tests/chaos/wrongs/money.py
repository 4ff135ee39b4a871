"""Money that is taken twice, in the wrong cents, or not given back."""

from decimal import Decimal

from tests.chaos.rows import Charge, ChargeRefund, Payment
from tests.chaos.tale import Tale
from tests.chaos.wrongs.register import breaks


@breaks("one_capture_per_order")
def money_is_taken_twice_though_given_back(tale: Tale) -> None:
    order = tale.cast["late_money"]
    first = tale.payment(order)
    tale.books.charges.append(Charge("ch_again", first.key, order.total, order.currency, first.method, "captured"))
    tale.books.charges[-1].key = "again"
    tale.books.payments.append(
        Payment("again", order.id, order.total, "EUR", "pm_ok", "chain", "again", "succeeded", applied=True)
    )
    tale.books.refunds.append(type(tale.books.refunds[0])("again", order.total, "succeeded"))
    tale.books.charge_refunds.append(ChargeRefund("again", order.total))


@breaks("paid_orders_have_their_money", "provider_and_shop_agree")
def a_paid_order_was_declined(tale: Tale) -> None:
    tale.charge(tale.cast["paid"]).outcome = "declined"


@breaks("paid_orders_have_their_money", "provider_and_shop_agree", "every_order_ends")
def a_captured_order_never_learns_of_it(tale: Tale) -> None:
    order = tale.buy(30, "waiting", method="pm_ok")
    tale.books.payments.append(Payment("p", order.id, order.total, "EUR", "pm_ok", "chain", "k", "succeeded", applied=False))
    tale.books.charges.append(Charge("c", "k", order.total, "EUR", "pm_ok", "captured"))
    tale.close()


@breaks("late_money_is_refunded")
def a_refund_is_dropped(tale: Tale) -> None:
    payment = tale.payment(tale.cast["late_money"])
    tale.books.refunds = [refund for refund in tale.books.refunds if refund.payment != payment.id]
    tale.books.charge_refunds = [refund for refund in tale.books.charge_refunds if refund.key != payment.key]


@breaks("late_money_is_refunded", "provider_and_shop_agree")
def a_refund_never_reaches_the_provider(tale: Tale) -> None:
    tale.books.charge_refunds.pop()


@breaks("every_cent_is_right")
def a_cent_is_missing(tale: Tale) -> None:
    tale.charge(tale.cast["paid"]).amount -= Decimal("0.01")


@breaks("every_cent_is_right")
def a_price_is_wrong(tale: Tale) -> None:
    order = tale.buy(30, "waiting", watched=False)
    order.price += Decimal("0.01")
    tale.close()


@breaks("every_cent_is_right", "late_money_is_refunded")
def a_cent_is_kept(tale: Tale) -> None:
    tale.books.charge_refunds[0].amount -= Decimal("0.01")


@breaks("provider_and_shop_agree")
def money_is_taken_under_a_forgotten_key(tale: Tale) -> None:
    tale.books.charges.append(Charge("ch_lost", "lost", Decimal("12.34"), "EUR", "pm_ok", "captured"))


@breaks("provider_and_shop_agree")
def an_answer_is_never_asked_for(tale: Tale) -> None:
    order = tale.buy(30, "unpaid", method="pm_ok")
    tale.books.payments.append(Payment("p", order.id, order.total, "EUR", "pm_ok", "chain", "k", "unknown", applied=False))
    tale.close()


@breaks("provider_and_shop_agree")
def a_payment_has_no_order(tale: Tale) -> None:
    tale.books.payments.append(Payment("p", "nobody", Decimal(1), "EUR", "pm_ok", "chain", "k", "failed", applied=True))


@breaks("nobody_is_charged_unasked")
def a_customer_is_charged_another_way(tale: Tale) -> None:
    tale.payment(tale.cast["paid"]).method = "pm_slow"


@breaks("nobody_is_charged_unasked")
def a_customer_is_charged_who_did_not_ask(tale: Tale) -> None:
    order = tale.cast["paid_later"]
    tale.history.operations = [op for op in tale.history.operations if (op.kind, op.customer) != ("pay", order.customer)]
