"""Orders that are lost when no disk took them, or whose customers are left without a word."""

from tests.chaos.clean_sale import CleanSale
from tests.chaos.rows import Loss
from tests.chaos.violations.register import breaks


def _loss(sale: CleanSale) -> Loss:
    return sale.books.losses[0]


@breaks("only_a_lost_disk_loses_orders", "same_request_same_answer")
def an_order_is_lost_and_no_disk_was(sale: CleanSale) -> None:
    sale.books.losses.clear()


@breaks("only_a_lost_disk_loses_orders", "same_request_same_answer")
def an_order_is_lost_that_was_not_in_the_stream(sale: CleanSale) -> None:
    sale.books.losses = [Loss(_loss(sale).at, frozenset())]


@breaks("only_a_lost_disk_loses_orders", "same_request_same_answer")
def an_order_is_lost_that_came_after_the_disk(sale: CleanSale) -> None:
    first = sale.first_of_lost()
    sale.books.losses = [Loss(first.invoked_at - 0.1, _loss(sale).waiting)]


@breaks("only_a_lost_disk_loses_orders")
def an_order_is_lost_that_should_have_been_deducted_long_ago(sale: CleanSale) -> None:
    first = sale.first_of_lost()
    first.invoked_at -= 31
    first.completed_at = first.invoked_at + 0.1


@breaks("only_a_lost_disk_loses_orders", "every_order_was_attempted")
def an_order_is_lost_that_nobody_was_told_of(sale: CleanSale) -> None:
    first = sale.first_of_lost()
    first.complete(first.completed_at or 0.0, None, None)


@breaks("lost_orders_have_an_end")
def a_lost_order_is_not_spoken_of(sale: CleanSale) -> None:
    sale.history.operations.remove(sale.last_of_lost())


@breaks("lost_orders_have_an_end")
def a_lost_order_is_said_to_be_queued(sale: CleanSale) -> None:
    last = sale.last_of_lost()
    last.answer = (last.answer or {}) | {"status": "queued", "history": [{"status": "queued"}]}


@breaks("lost_orders_have_an_end", "reads_agree_with_the_books")
def a_lost_order_has_units(sale: CleanSale) -> None:
    sale.cast["lost"].units = 1


@breaks("acknowledged_orders_are_kept", "other_requests_are_refused")
def a_lost_order_has_no_end(sale: CleanSale) -> None:
    order = sale.cast["lost"]
    sale.books.orders.remove(order)
    sale.books.events = [event for event in sale.books.events if event.order != order.id]


@breaks("same_request_same_answer")
def an_order_that_the_ledger_had_is_refused_after_the_loss(sale: CleanSale) -> None:
    sale.books.losses.append(Loss(sale.tick(), frozenset()))
    sale.told("order", 1, sale.asked(sale.cast["paid"]).request, 400, {"code": "token_invalid"})
    sale.books.taken_at = sale.tick()


@breaks("other_requests_are_refused")
def a_thief_is_told_an_order_that_the_ledger_had_before_the_loss(sale: CleanSale) -> None:
    sale.books.losses.append(Loss(sale.tick(), frozenset()))
    first = sale.asked(sale.cast["paid"])
    sale.told("order", 2, first.request | {"token": "stolen"}, 202, first.answer)
    sale.books.taken_at = sale.tick()
