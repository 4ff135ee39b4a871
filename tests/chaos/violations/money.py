"""Money that is taken twice, in the wrong cents, or not given back."""

from decimal import Decimal

from tests.chaos.clean_sale import CleanSale
from tests.chaos.rows import Charge, ChargeRefund, Payment
from tests.chaos.violations.register import breaks


@breaks("one_capture_per_order")
def money_is_taken_twice_though_given_back(sale: CleanSale) -> None:
    order = sale.cast["late_money"]
    first = sale.payment(order)
    sale.books.charges.append(Charge("ch_again", first.key, order.total, order.currency, first.method, "captured"))
    sale.books.charges[-1].key = "again"
    sale.books.payments.append(
        Payment("again", order.id, order.total, "EUR", "pm_ok", "chain", "again", "succeeded", applied=True)
    )
    sale.books.refunds.append(type(sale.books.refunds[0])("again", order.total, "succeeded"))
    sale.books.charge_refunds.append(ChargeRefund("again", order.total))


@breaks("paid_orders_have_their_money", "provider_and_shop_agree")
def a_paid_order_was_declined(sale: CleanSale) -> None:
    sale.charge(sale.cast["paid"]).outcome = "declined"


@breaks("paid_orders_have_their_money", "provider_and_shop_agree", "every_order_ends")
def a_captured_order_never_learns_of_it(sale: CleanSale) -> None:
    order = sale.buy(30, "waiting", method="pm_ok")
    sale.books.payments.append(Payment("p", order.id, order.total, "EUR", "pm_ok", "chain", "k", "succeeded", applied=False))
    sale.books.charges.append(Charge("c", "k", order.total, "EUR", "pm_ok", "captured"))
    sale.close()


@breaks("late_money_is_refunded")
def a_refund_is_dropped(sale: CleanSale) -> None:
    payment = sale.payment(sale.cast["late_money"])
    sale.books.refunds = [refund for refund in sale.books.refunds if refund.payment != payment.id]
    sale.books.charge_refunds = [refund for refund in sale.books.charge_refunds if refund.key != payment.key]


@breaks("late_money_is_refunded", "provider_and_shop_agree")
def a_refund_never_reaches_the_provider(sale: CleanSale) -> None:
    sale.books.charge_refunds.pop()


@breaks("every_cent_is_right")
def a_cent_is_missing(sale: CleanSale) -> None:
    sale.charge(sale.cast["paid"]).amount -= Decimal("0.01")


@breaks("every_cent_is_right")
def a_price_is_wrong(sale: CleanSale) -> None:
    order = sale.buy(30, "waiting", watched=False)
    order.price += Decimal("0.01")
    sale.close()


@breaks("every_cent_is_right", "late_money_is_refunded")
def a_cent_is_kept(sale: CleanSale) -> None:
    sale.books.charge_refunds[0].amount -= Decimal("0.01")


@breaks("provider_and_shop_agree")
def money_is_taken_under_a_forgotten_key(sale: CleanSale) -> None:
    sale.books.charges.append(Charge("ch_lost", "lost", Decimal("12.34"), "EUR", "pm_ok", "captured"))


@breaks("provider_and_shop_agree")
def an_answer_is_never_asked_for(sale: CleanSale) -> None:
    order = sale.buy(30, "unpaid", method="pm_ok")
    sale.books.payments.append(Payment("p", order.id, order.total, "EUR", "pm_ok", "chain", "k", "unknown", applied=False))
    sale.close()


@breaks("provider_and_shop_agree")
def a_payment_has_no_order(sale: CleanSale) -> None:
    sale.books.payments.append(Payment("p", "nobody", Decimal(1), "EUR", "pm_ok", "chain", "k", "failed", applied=True))


@breaks("nobody_is_charged_unasked")
def a_customer_is_charged_another_way(sale: CleanSale) -> None:
    sale.payment(sale.cast["paid"]).method = "pm_slow"


@breaks("nobody_is_charged_unasked")
def a_customer_is_charged_who_did_not_ask(sale: CleanSale) -> None:
    order = sale.cast["paid_later"]
    sale.history.operations = [op for op in sale.history.operations if (op.kind, op.customer) != ("pay", order.customer)]
