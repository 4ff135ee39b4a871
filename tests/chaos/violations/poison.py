"""Orders that cannot be rows, and are left without an end or take others with them."""

from tests.chaos.clean_sale import CleanSale
from tests.chaos.rows import Letter
from tests.chaos.violations.register import breaks


@breaks("poisoned_orders_have_an_end")
def a_poisoned_order_vanishes(sale: CleanSale) -> None:
    sale.told("order", 28, sale.body(), 202, {"id": "gone"})


@breaks("poisoned_orders_have_an_end", "dead_letters_are_explained")
def a_dead_letter_does_not_name_its_order(sale: CleanSale) -> None:
    sale.books.letters[0].args = "[[]]"


@breaks("poisoned_orders_have_an_end", "movements_are_those_of_the_orders")
def a_poisoned_order_stays_half_made(sale: CleanSale) -> None:
    sale.rejected.reason, sale.rejected.units = "sold_out", 1


@breaks("poisoned_orders_have_an_end")
def a_dead_letter_of_a_rejected_order_is_opened_again(sale: CleanSale) -> None:
    sale.books.letters.append(Letter(3, "tasks.create_orders", f"[['{sale.rejected.id}']]", "IntegrityError()"))


@breaks("poisoned_orders_have_an_end", "reads_agree_with_the_books")
def a_spoilt_order_is_sold_out(sale: CleanSale) -> None:
    sale.cast["spoilt"].reason = "sold_out"
    sale.books.movements = [line for line in sale.books.movements if line.order != sale.cast["spoilt"].id]


@breaks("movements_are_those_of_the_orders", "ledger_adds_up")
def the_units_of_a_poisoned_order_do_not_go_back(sale: CleanSale) -> None:
    lines = sale.books.movements
    lines.remove(next(line for line in lines if (line.kind, line.order) == ("release", sale.rejected.id)))


@breaks("gate_equals_ledger", "gate_adds_up")
def the_gate_keeps_the_hold_of_a_rejected_order(sale: CleanSale) -> None:
    sale.books.gates[0].held[sale.rejected.id] = 28, 1


@breaks("poisoned_orders_are_told_of")
def a_poisoned_order_is_shown_as_reserved_for_ever(sale: CleanSale) -> None:
    last = [op for op in sale.history.of("read") if op.customer == 28][-1]
    last.answer = {"status": "reserved", "reason": ""}


@breaks("dead_letters_hold_one_order")
def a_batch_is_kept_back_with_its_bad_order(sale: CleanSale) -> None:
    letter = sale.books.letters[0]
    sale.books.letters[0] = Letter(letter.id, letter.task, f"{letter.args} {sale.cast['paid'].id}", letter.error)


@breaks("the_audit_agrees")
def the_audit_finds_something(sale: CleanSale) -> None:
    sale.books.audit.append(f"order {sale.rejected.id} is still intake")
