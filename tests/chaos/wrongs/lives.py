"""Orders that are lost, made up, or do not come to their end."""

from tests.chaos.rows import Event
from tests.chaos.tale import Tale
from tests.chaos.wrongs.register import breaks


@breaks("acknowledged_orders_are_kept")
def an_acknowledged_order_vanishes(tale: Tale) -> None:
    tale.told("order", 30, tale.body(), 202, {"id": "gone"})


@breaks("every_order_ends")
def an_overdue_order_is_not_cancelled(tale: Tale) -> None:
    tale.cast["waiting"].expires_at = tale.books.taken_at - 1


@breaks("every_order_ends")
def nobody_asks_for_the_money_of_an_order(tale: Tale) -> None:
    tale.buy(30, "waiting", method="pm_ok")
    tale.close()


@breaks("every_order_was_attempted")
def an_order_comes_from_nowhere(tale: Tale) -> None:
    tale.history.operations.remove(tale.asked(tale.cast["silent"]))


@breaks("every_order_was_attempted")
def an_order_has_another_quantity(tale: Tale) -> None:
    tale.asked(tale.cast["silent"]).request["quantity"] = 1


@breaks("every_order_was_attempted")
def an_order_has_another_sku(tale: Tale) -> None:
    tale.asked(tale.cast["silent"]).request["sku"] = "other"


@breaks("every_order_was_attempted")
def an_order_belongs_to_somebody_else(tale: Tale) -> None:
    tale.asked(tale.cast["silent"]).customer = 99


@breaks("refused_orders_leave_nothing")
def a_refused_order_is_made(tale: Tale) -> None:
    tale.asked(tale.cast["silent"]).complete(2_000.0, 409, {"code": "sold_out"})


@breaks("one_order_per_source_and_seq")
def a_repetition_makes_a_second_order(tale: Tale) -> None:
    first = tale.buy(30, status=None)
    tale.buy(30, status=None, seq=first.seq, token=tale.asked(first).request["token"])
    tale.close()


@breaks("one_order_per_source_and_seq")
def a_living_order_bears_the_name_of_a_rejected_one(tale: Tale) -> None:
    tale.cast["silent"].seq += "~1"


@breaks("one_order_per_token")
def a_token_buys_twice(tale: Tale) -> None:
    tale.buy(30, token="same")
    tale.buy(30, token="same")
    tale.close()


@breaks("only_legal_transitions")
def a_paid_order_was_cancelled_before(tale: Tale) -> None:
    paid = tale.event(tale.cast["silent"], "paid")
    tale.books.events.insert(tale.books.events.index(paid), Event(paid.order, "cancelled", paid.at))


@breaks("only_legal_transitions")
def a_step_is_left_out(tale: Tale) -> None:
    tale.books.events.remove(tale.event(tale.cast["silent"], "pending_payment"))


@breaks("only_legal_transitions")
def something_happens_after_the_end(tale: Tale) -> None:
    order = tale.buy(30, "called_off", watched=False)
    tale.books.events.append(Event(order.id, "pending_payment", tale.tick()))
    tale.books.events.append(Event(order.id, "cancelled", tale.tick()))
    tale.close()


@breaks("only_legal_transitions")
def a_history_does_not_start_at_queued(tale: Tale) -> None:
    tale.books.events.remove(tale.event(tale.cast["silent"], "queued"))


@breaks("only_legal_transitions")
def a_row_is_ahead_of_its_history(tale: Tale) -> None:
    tale.books.events.remove(tale.event(tale.cast["silent"], "paid"))


@breaks("only_legal_transitions")
def a_history_has_no_row(tale: Tale) -> None:
    tale.books.events.append(Event("nobody", "queued", 1.0))


@breaks("no_order_is_cancelled_early")
def an_order_is_cancelled_before_its_deadline(tale: Tale) -> None:
    tale.cast["unpaid"].expires_at += 5


@breaks("customers_have_their_word")
def a_cancelled_order_is_paid(tale: Tale) -> None:
    order = tale.cast["silent"]
    tale.told("cancel", order.customer, {"order": order.id}, 200, {})


@breaks("customers_have_their_word")
def an_order_is_cancelled_in_the_name_of_its_customer(tale: Tale) -> None:
    order = tale.cast["called_off"]
    tale.history.operations = [op for op in tale.history.operations if (op.kind, op.customer) != ("cancel", order.customer)]


@breaks("ends_come_in_time")
def an_order_ends_half_a_minute_too_late(tale: Tale) -> None:
    paid = tale.event(tale.cast["silent"], "paid")
    paid.at += 31
    tale.books.taken_at += 60


@breaks("ends_come_in_time")
def the_run_is_quiet_half_a_minute_too_late(tale: Tale) -> None:
    tale.books.settled_at += 60
