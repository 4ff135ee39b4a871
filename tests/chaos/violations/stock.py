"""Units that are sold twice, vanish, or go to the wrong hands."""

from tests.chaos.clean_sale import CleanSale
from tests.chaos.rows import Terms
from tests.chaos.violations.register import breaks


@breaks("nothing_is_oversold")
def more_is_sold_than_there_is(sale: CleanSale) -> None:
    units = sale.item.sold - 1
    sale.books.movements[0].units = sale.item.allocated = units
    sale.close()


@breaks("nothing_is_oversold")
def more_is_promised_for_a_moment_than_there_is(sale: CleanSale) -> None:
    first = sale.buy(30, "called_off", 2, watched=False)
    second = sale.buy(31, "paid", 2, watched=False)
    least = sum(order.units for order in sale.books.orders if order.status in ("paid", "refunded", "pending_payment"))
    sale.books.movements[0].units = sale.item.allocated = least
    sale.event(second, "reserved").at = sale.event(first, "pending_payment").at
    sale.close()


@breaks("nobody_is_over_the_limit")
def a_customer_owns_too_much(sale: CleanSale) -> None:
    sale.buy(20, "paid", 1)
    sale.close()


@breaks("nobody_is_over_the_limit")
def a_customer_holds_too_much_for_a_moment(sale: CleanSale) -> None:
    first = sale.buy(30, "unpaid", 2, watched=False)
    second = sale.buy(30, "paid", 2, watched=False)
    sale.event(second, "queued").at = sale.event(first, "pending_payment").at
    sale.close()


@breaks("nobody_is_over_the_limit")
def a_customer_orders_more_than_the_limit_of_that_order(sale: CleanSale) -> None:
    sale.books.terms[sale.item.id, 2] = Terms(sale.item.price, sale.item.currency, 1)
    order = next(order for order in sale.books.orders if order.units == 2 and order.status == "paid")
    order.limit = 2


@breaks("ledger_adds_up")
def a_unit_appears_in_the_columns(sale: CleanSale) -> None:
    sale.item.reserved += 1


@breaks("ledger_adds_up")
def a_movement_is_lost(sale: CleanSale) -> None:
    sale.books.movements[0].units -= 1


@breaks("movements_are_those_of_the_orders")
def units_move_for_an_order_that_does_not_exist(sale: CleanSale) -> None:
    order = sale.cast["sold_out"]
    sale.books.orders.remove(order)
    sale.books.events = [event for event in sale.books.events if event.order != order.id]
    sale.history.operations.remove(sale.asked(order))
    line = next(line for line in sale.books.movements if line.kind == "sell")
    sale.books.movements += [type(line)(line.item, kind, 1, "nobody") for kind in ("reserve", "release")]


@breaks("movements_are_those_of_the_orders", "ledger_adds_up")
def an_order_is_settled_without_its_movement(sale: CleanSale) -> None:
    sale.books.movements.remove(next(line for line in sale.books.movements if line.kind == "sell"))


@breaks("movements_are_those_of_the_orders")
def a_cancelled_order_keeps_what_another_gave_back(sale: CleanSale) -> None:
    release = next(line for line in sale.books.movements if (line.kind, line.order) == ("release", sale.cast["unpaid"].id))
    release.order = sale.cast["silent"].id


@breaks("gate_adds_up", "gate_equals_ledger")
def units_are_released_twice(sale: CleanSale) -> None:
    sale.books.gates[0].stock += 1


@breaks("gate_equals_ledger")
def a_hold_is_leaked(sale: CleanSale) -> None:
    order = sale.cast["unpaid"]
    sale.books.gates[0].held[order.id] = order.customer, order.units
    sale.books.gates[0].stock -= order.units


@breaks("gate_equals_ledger")
def the_gate_forgets_a_buyer(sale: CleanSale) -> None:
    del sale.books.gates[0].buyers[20]


@breaks("gate_equals_ledger")
def the_gate_is_gone(sale: CleanSale) -> None:
    sale.books.gates[0].is_open = False


@breaks("gate_equals_ledger")
def an_item_has_no_gate(sale: CleanSale) -> None:
    sale.books.gates.clear()
