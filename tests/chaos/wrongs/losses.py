"""Orders that are lost when no disk took them, or whose customers are left without a word."""

from tests.chaos.rows import Loss
from tests.chaos.tale import Tale
from tests.chaos.wrongs.register import breaks


def _loss(tale: Tale) -> Loss:
    return tale.books.losses[0]


@breaks("only_a_lost_disk_loses_orders", "same_request_same_answer")
def an_order_is_lost_and_no_disk_was(tale: Tale) -> None:
    tale.books.losses.clear()


@breaks("only_a_lost_disk_loses_orders", "same_request_same_answer")
def an_order_is_lost_that_was_not_in_the_stream(tale: Tale) -> None:
    tale.books.losses = [Loss(_loss(tale).at, frozenset())]


@breaks("only_a_lost_disk_loses_orders", "same_request_same_answer")
def an_order_is_lost_that_came_after_the_disk(tale: Tale) -> None:
    first = tale.first_of_lost()
    tale.books.losses = [Loss(first.invoked_at - 0.1, _loss(tale).waiting)]


@breaks("only_a_lost_disk_loses_orders")
def an_order_is_lost_that_should_have_been_deducted_long_ago(tale: Tale) -> None:
    first = tale.first_of_lost()
    first.invoked_at -= 31
    first.completed_at = first.invoked_at + 0.1


@breaks("only_a_lost_disk_loses_orders", "every_order_was_attempted")
def an_order_is_lost_that_nobody_was_told_of(tale: Tale) -> None:
    first = tale.first_of_lost()
    first.complete(first.completed_at or 0.0, None, None)


@breaks("lost_orders_have_an_end")
def a_lost_order_is_not_spoken_of(tale: Tale) -> None:
    tale.history.operations.remove(tale.last_of_lost())


@breaks("lost_orders_have_an_end")
def a_lost_order_is_said_to_be_queued(tale: Tale) -> None:
    last = tale.last_of_lost()
    last.answer = (last.answer or {}) | {"status": "queued", "history": [{"status": "queued"}]}


@breaks("lost_orders_have_an_end", "reads_agree_with_the_books")
def a_lost_order_has_units(tale: Tale) -> None:
    tale.cast["lost"].units = 1


@breaks("acknowledged_orders_are_kept", "other_requests_are_refused")
def a_lost_order_has_no_end(tale: Tale) -> None:
    order = tale.cast["lost"]
    tale.books.orders.remove(order)
    tale.books.events = [event for event in tale.books.events if event.order != order.id]


@breaks("same_request_same_answer")
def an_order_that_the_ledger_had_is_refused_after_the_loss(tale: Tale) -> None:
    tale.books.losses.append(Loss(tale.tick(), frozenset()))
    tale.told("order", 1, tale.asked(tale.cast["paid"]).request, 400, {"code": "token_invalid"})
    tale.books.taken_at = tale.tick()


@breaks("other_requests_are_refused")
def a_thief_is_told_an_order_that_the_ledger_had_before_the_loss(tale: Tale) -> None:
    tale.books.losses.append(Loss(tale.tick(), frozenset()))
    first = tale.asked(tale.cast["paid"])
    tale.told("order", 2, first.request | {"token": "stolen"}, 202, first.answer)
    tale.books.taken_at = tale.tick()
