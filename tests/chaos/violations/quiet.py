"""What is left on the way, or left behind."""

from tests.chaos.clean_sale import CleanSale
from tests.chaos.rows import Effect, Intake, Letter, Message
from tests.chaos.violations.register import breaks


@breaks("queues_are_empty")
def a_message_is_forgotten_in_a_queue(sale: CleanSale) -> None:
    sale.books.messages.append(Message("inventory", "tasks.deduct_inventory"))


@breaks("queues_are_empty")
def a_cancellation_is_overdue(sale: CleanSale) -> None:
    sale.books.messages.append(Message("unacked", "tasks.cancel_unpaid", due_at=sale.books.taken_at - 1))


@breaks("queues_are_empty")
def a_step_is_still_to_be_tried_again(sale: CleanSale) -> None:
    sale.books.messages.append(Message("unacked", "tasks.create_orders", due_at=1e9))


@breaks("queues_are_empty")
def what_a_dead_worker_held_does_not_come_back(sale: CleanSale) -> None:
    overdue = sale.books.taken_at - 0.1
    sale.books.messages.append(Message("unacked", "tasks.create_orders", returns_at=overdue))


@breaks("streams_are_empty")
def an_order_waits_in_the_stream(sale: CleanSale) -> None:
    sale.books.gates[0].streamed.append("waiting")


@breaks("streams_are_empty")
def a_claim_has_no_entry(sale: CleanSale) -> None:
    sale.books.gates[0].pending = 1


@breaks("streams_are_empty")
def a_row_is_still_shown_as_queued(sale: CleanSale) -> None:
    sale.books.gates[0].queued.append(sale.cast["paid"].id)


@breaks("intake_is_empty")
def an_order_is_left_in_the_intake(sale: CleanSale) -> None:
    order = sale.buy(30, "sold_out", status=None)
    sale.books.orders.remove(order)
    sale.books.events = [event for event in sale.books.events if event.order != order.id]
    values = (order.item, order.customer, order.sku, order.units, order.price, order.currency)
    row = Intake(order.id, *values, order.source, order.seq, order.digest, order.method, "sold_out")
    sale.books.intake.append(row)


@breaks("outbox_is_empty")
def the_gate_is_not_told(sale: CleanSale) -> None:
    sale.books.effects.append(Effect(sale.cast["paid"].id, sale.item.id, "settle"))


@breaks("dead_letters_are_explained", "dead_letters_hold_one_order")
def a_step_gave_up(sale: CleanSale) -> None:
    sale.books.letters.append(Letter(2, "tasks.create_orders", f"[['{sale.cast['paid'].id}']]", "IntegrityError()"))


@breaks("nothing_is_left_locked")
def a_lock_is_left_behind(sale: CleanSale) -> None:
    sale.books.leftovers.append("fs:lock:{rebuild:7}")


@breaks("nothing_is_left_locked")
def a_rebuild_is_not_finished(sale: CleanSale) -> None:
    sale.books.gates[0].is_rebuilding = True


@breaks("short_lived_keys_expire")
def a_receipt_never_expires(sale: CleanSale) -> None:
    sale.books.immortals.append("fs:receipt:shop:s1")


@breaks("the_audit_agrees")
def the_audit_finds_something(sale: CleanSale) -> None:
    sale.books.audit.append("drop: gate equals ledger: item 7")
