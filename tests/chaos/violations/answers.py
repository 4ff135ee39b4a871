"""Answers that do not hold."""

from tests.chaos.clean_sale import CleanSale
from tests.chaos.violations.register import breaks


@breaks("same_request_same_answer")
def a_repetition_is_told_another_order(sale: CleanSale) -> None:
    other = sale.buy(1, "paid")
    sale.told("order", 1, sale.asked(sale.cast["paid"]).request, 202, {"id": other.id})
    sale.close()


@breaks("same_request_same_answer")
def a_repetition_is_refused(sale: CleanSale) -> None:
    sale.told("order", 1, sale.asked(sale.cast["paid"]).request, 409, {"code": "token_used"})


@breaks("other_requests_are_refused")
def another_request_is_told_the_same_order(sale: CleanSale) -> None:
    first = sale.asked(sale.cast["paid"])
    sale.told("order", 1, first.request | {"quantity": 2}, 202, first.answer)


@breaks("other_requests_are_refused")
def another_request_is_refused_for_another_reason(sale: CleanSale) -> None:
    sale.told("order", 1, sale.asked(sale.cast["paid"]).request | {"quantity": 2}, 409, {"code": "sold_out"})


@breaks("other_requests_are_refused")
def another_customer_learns_of_a_request(sale: CleanSale) -> None:
    sale.told("order", 2, sale.asked(sale.cast["paid"]).request, 422, {"code": "idempotency_mismatch"})


@breaks("reads_never_go_backwards")
def an_order_is_read_as_younger_than_before(sale: CleanSale) -> None:
    order = sale.cast["paid"]
    view = sale.view(order)
    sale.told("read", 1, {"order": order.id}, 200, view | {"status": "reserved", "history": view["history"][:2]})


@breaks("reads_agree_with_the_books")
def an_order_is_read_with_another_quantity(sale: CleanSale) -> None:
    order = sale.cast["paid"]
    sale.told("read", 1, {"order": order.id}, 200, sale.view(order) | {"quantity": 2})


@breaks("reads_agree_with_the_books")
def a_paid_order_is_read_as_cancelled(sale: CleanSale) -> None:
    order = sale.cast["silent"]
    sale.told("read", order.customer, {"order": order.id}, 200, sale.view(order) | {"status": "cancelled"})


@breaks("reads_agree_with_the_books")
def a_history_is_rewritten(sale: CleanSale) -> None:
    order = sale.cast["paid"]
    sale.told("read", 1, {"order": order.id}, 200, sale.view(order) | {"history": [{"status": "reserved"}]})


@breaks("acknowledged_orders_can_be_read")
def an_acknowledged_order_is_not_found(sale: CleanSale) -> None:
    sale.told("read", 1, {"order": sale.cast["paid"].id}, 404, {"code": "not_found"})


@breaks("acknowledged_orders_can_be_read")
def an_order_is_shown_to_somebody_else(sale: CleanSale) -> None:
    sale.told("read", 2, {"order": sale.cast["paid"].id}, 200, sale.view(sale.cast["paid"]))
