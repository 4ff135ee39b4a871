"""Units that are sold twice, vanish, or go to the wrong hands."""

from tests.chaos.rows import Terms
from tests.chaos.tale import Tale
from tests.chaos.wrongs.register import breaks


@breaks("nothing_is_oversold")
def more_is_sold_than_there_is(tale: Tale) -> None:
    units = tale.item.sold - 1
    tale.books.movements[0].units = tale.item.allocated = units
    tale.close()


@breaks("nothing_is_oversold")
def more_is_promised_for_a_moment_than_there_is(tale: Tale) -> None:
    first = tale.buy(30, "called_off", 2, watched=False)
    second = tale.buy(31, "paid", 2, watched=False)
    least = sum(order.units for order in tale.books.orders if order.status in ("paid", "refunded", "pending_payment"))
    tale.books.movements[0].units = tale.item.allocated = least
    tale.event(second, "reserved").at = tale.event(first, "pending_payment").at
    tale.close()


@breaks("nobody_is_over_the_limit")
def a_customer_owns_too_much(tale: Tale) -> None:
    tale.buy(20, "paid", 1)
    tale.close()


@breaks("nobody_is_over_the_limit")
def a_customer_holds_too_much_for_a_moment(tale: Tale) -> None:
    first = tale.buy(30, "unpaid", 2, watched=False)
    second = tale.buy(30, "paid", 2, watched=False)
    tale.event(second, "queued").at = tale.event(first, "pending_payment").at
    tale.close()


@breaks("nobody_is_over_the_limit")
def a_customer_orders_more_than_the_limit_of_that_order(tale: Tale) -> None:
    tale.books.terms[tale.item.id, 2] = Terms(tale.item.price, tale.item.currency, 1)
    order = next(order for order in tale.books.orders if order.units == 2 and order.status == "paid")
    order.limit = 2


@breaks("ledger_adds_up")
def a_unit_appears_in_the_columns(tale: Tale) -> None:
    tale.item.reserved += 1


@breaks("ledger_adds_up")
def a_movement_is_lost(tale: Tale) -> None:
    tale.books.movements[0].units -= 1


@breaks("movements_are_those_of_the_orders")
def units_move_for_an_order_that_does_not_exist(tale: Tale) -> None:
    order = tale.cast["sold_out"]
    tale.books.orders.remove(order)
    tale.books.events = [event for event in tale.books.events if event.order != order.id]
    tale.history.operations.remove(tale.asked(order))
    line = next(line for line in tale.books.movements if line.kind == "sell")
    tale.books.movements += [type(line)(line.item, kind, 1, "nobody") for kind in ("reserve", "release")]


@breaks("movements_are_those_of_the_orders", "ledger_adds_up")
def an_order_is_settled_without_its_movement(tale: Tale) -> None:
    tale.books.movements.remove(next(line for line in tale.books.movements if line.kind == "sell"))


@breaks("movements_are_those_of_the_orders")
def a_cancelled_order_keeps_what_another_gave_back(tale: Tale) -> None:
    release = next(line for line in tale.books.movements if (line.kind, line.order) == ("release", tale.cast["unpaid"].id))
    release.order = tale.cast["silent"].id


@breaks("gate_adds_up", "gate_equals_ledger")
def units_are_released_twice(tale: Tale) -> None:
    tale.books.gates[0].stock += 1


@breaks("gate_equals_ledger")
def a_hold_is_leaked(tale: Tale) -> None:
    order = tale.cast["unpaid"]
    tale.books.gates[0].held[order.id] = order.customer, order.units
    tale.books.gates[0].stock -= order.units


@breaks("gate_equals_ledger")
def the_gate_forgets_a_buyer(tale: Tale) -> None:
    del tale.books.gates[0].buyers[20]


@breaks("gate_equals_ledger")
def the_gate_is_gone(tale: Tale) -> None:
    tale.books.gates[0].is_open = False


@breaks("gate_equals_ledger")
def an_item_has_no_gate(tale: Tale) -> None:
    tale.books.gates.clear()
