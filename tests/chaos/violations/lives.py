"""Orders that are lost, made up, or do not come to their end."""

from tests.chaos.clean_sale import CleanSale
from tests.chaos.rows import Event
from tests.chaos.violations.register import breaks


@breaks("acknowledged_orders_are_kept")
def an_acknowledged_order_vanishes(sale: CleanSale) -> None:
    sale.told("order", 30, sale.body(), 202, {"id": "gone"})


@breaks("every_order_ends")
def an_overdue_order_is_not_cancelled(sale: CleanSale) -> None:
    sale.cast["waiting"].expires_at = sale.books.taken_at - 1


@breaks("every_order_ends")
def nobody_asks_for_the_money_of_an_order(sale: CleanSale) -> None:
    sale.buy(30, "waiting", method="pm_ok")
    sale.close()


@breaks("every_order_was_attempted")
def an_order_comes_from_nowhere(sale: CleanSale) -> None:
    sale.history.operations.remove(sale.asked(sale.cast["silent"]))


@breaks("every_order_was_attempted")
def an_order_has_another_quantity(sale: CleanSale) -> None:
    sale.asked(sale.cast["silent"]).request["quantity"] = 1


@breaks("every_order_was_attempted")
def an_order_has_another_sku(sale: CleanSale) -> None:
    sale.asked(sale.cast["silent"]).request["sku"] = "other"


@breaks("every_order_was_attempted")
def an_order_belongs_to_somebody_else(sale: CleanSale) -> None:
    sale.asked(sale.cast["silent"]).customer = 99


@breaks("refused_orders_leave_nothing")
def a_refused_order_is_made(sale: CleanSale) -> None:
    sale.asked(sale.cast["silent"]).complete(2_000.0, 409, {"code": "sold_out"})


@breaks("one_order_per_source_and_seq")
def a_repetition_makes_a_second_order(sale: CleanSale) -> None:
    first = sale.buy(30, status=None)
    sale.buy(30, status=None, seq=first.seq, token=sale.asked(first).request["token"])
    sale.close()


@breaks("one_order_per_source_and_seq")
def a_living_order_bears_the_name_of_a_rejected_one(sale: CleanSale) -> None:
    sale.cast["silent"].seq += "~1"


@breaks("one_order_per_token")
def a_token_buys_twice(sale: CleanSale) -> None:
    sale.buy(30, token="same")
    sale.buy(30, token="same")
    sale.close()


@breaks("only_legal_transitions")
def a_paid_order_was_cancelled_before(sale: CleanSale) -> None:
    paid = sale.event(sale.cast["silent"], "paid")
    sale.books.events.insert(sale.books.events.index(paid), Event(paid.order, "cancelled", paid.at))


@breaks("only_legal_transitions")
def a_step_is_left_out(sale: CleanSale) -> None:
    sale.books.events.remove(sale.event(sale.cast["silent"], "pending_payment"))


@breaks("only_legal_transitions")
def something_happens_after_the_end(sale: CleanSale) -> None:
    order = sale.buy(30, "called_off", watched=False)
    sale.books.events.append(Event(order.id, "pending_payment", sale.tick()))
    sale.books.events.append(Event(order.id, "cancelled", sale.tick()))
    sale.close()


@breaks("only_legal_transitions")
def a_history_does_not_start_at_queued(sale: CleanSale) -> None:
    sale.books.events.remove(sale.event(sale.cast["silent"], "queued"))


@breaks("only_legal_transitions")
def a_row_is_ahead_of_its_history(sale: CleanSale) -> None:
    sale.books.events.remove(sale.event(sale.cast["silent"], "paid"))


@breaks("only_legal_transitions")
def a_history_has_no_row(sale: CleanSale) -> None:
    sale.books.events.append(Event("nobody", "queued", 1.0))


@breaks("no_order_is_cancelled_early")
def an_order_is_cancelled_before_its_deadline(sale: CleanSale) -> None:
    sale.cast["unpaid"].expires_at += 5


@breaks("customers_have_their_word")
def a_cancelled_order_is_paid(sale: CleanSale) -> None:
    order = sale.cast["silent"]
    sale.told("cancel", order.customer, {"order": order.id}, 200, {})


@breaks("customers_have_their_word")
def an_order_is_cancelled_in_the_name_of_its_customer(sale: CleanSale) -> None:
    order = sale.cast["called_off"]
    sale.history.operations = [op for op in sale.history.operations if (op.kind, op.customer) != ("cancel", order.customer)]


@breaks("ends_come_in_time")
def an_order_ends_half_a_minute_too_late(sale: CleanSale) -> None:
    paid = sale.event(sale.cast["silent"], "paid")
    paid.at += 31
    sale.books.taken_at += 60


@breaks("ends_come_in_time")
def the_run_is_quiet_half_a_minute_too_late(sale: CleanSale) -> None:
    sale.books.settled_at += 60
