"""Answers that do not hold."""

from tests.chaos.tale import Tale
from tests.chaos.wrongs.register import breaks


@breaks("same_request_same_answer")
def a_repetition_is_told_another_order(tale: Tale) -> None:
    other = tale.buy(1, "paid")
    tale.told("order", 1, tale.asked(tale.cast["paid"]).request, 202, {"id": other.id})
    tale.close()


@breaks("same_request_same_answer")
def a_repetition_is_refused(tale: Tale) -> None:
    tale.told("order", 1, tale.asked(tale.cast["paid"]).request, 409, {"code": "token_used"})


@breaks("other_requests_are_refused")
def another_request_is_told_the_same_order(tale: Tale) -> None:
    first = tale.asked(tale.cast["paid"])
    tale.told("order", 1, first.request | {"quantity": 2}, 202, first.answer)


@breaks("other_requests_are_refused")
def another_request_is_refused_for_another_reason(tale: Tale) -> None:
    tale.told("order", 1, tale.asked(tale.cast["paid"]).request | {"quantity": 2}, 409, {"code": "sold_out"})


@breaks("other_requests_are_refused")
def another_customer_learns_of_a_request(tale: Tale) -> None:
    tale.told("order", 2, tale.asked(tale.cast["paid"]).request, 422, {"code": "idempotency_mismatch"})


@breaks("reads_never_go_backwards")
def an_order_is_read_as_younger_than_before(tale: Tale) -> None:
    order = tale.cast["paid"]
    view = tale.view(order)
    tale.told("read", 1, {"order": order.id}, 200, view | {"status": "reserved", "history": view["history"][:2]})


@breaks("reads_agree_with_the_books")
def an_order_is_read_with_another_quantity(tale: Tale) -> None:
    order = tale.cast["paid"]
    tale.told("read", 1, {"order": order.id}, 200, tale.view(order) | {"quantity": 2})


@breaks("reads_agree_with_the_books")
def a_paid_order_is_read_as_cancelled(tale: Tale) -> None:
    order = tale.cast["silent"]
    tale.told("read", order.customer, {"order": order.id}, 200, tale.view(order) | {"status": "cancelled"})


@breaks("reads_agree_with_the_books")
def a_history_is_rewritten(tale: Tale) -> None:
    order = tale.cast["paid"]
    tale.told("read", 1, {"order": order.id}, 200, tale.view(order) | {"history": [{"status": "reserved"}]})


@breaks("acknowledged_orders_can_be_read")
def an_acknowledged_order_is_not_found(tale: Tale) -> None:
    tale.told("read", 1, {"order": tale.cast["paid"].id}, 404, {"code": "not_found"})


@breaks("acknowledged_orders_can_be_read")
def an_order_is_shown_to_somebody_else(tale: Tale) -> None:
    tale.told("read", 2, {"order": tale.cast["paid"].id}, 200, tale.view(tale.cast["paid"]))
