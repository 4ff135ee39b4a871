"""History and books side by side, looked up the ways the checks ask for."""

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from functools import cached_property
from typing import TypeVar

from orders.placement import OrderRequest
from orders.states import TRANSITIONS
from tests.chaos.history import History, Operation
from tests.chaos.rows import Books, Charge, Event, Gate, Intake, Item, Loss, Order, Payment, Refund, Terms

T = TypeVar("T")
END_STATES = frozenset({"paid", "cancelled", "rejected", "refunded"})
HOLDING = frozenset({"reserved", "pending_payment"})
BOUGHT = frozenset({"paid", "refunded"})
OPEN_PAYMENT = frozenset({"created", "processing", "unknown"})
SEQ_TAKEN, LOST, POISONED = "seq_taken", "lost", "poisoned"


NEXT = {str(state): frozenset(str(target) for target in targets) for state, targets in TRANSITIONS.items()}


def reachable(state: str) -> frozenset[str]:
    """The states that may follow this one, itself among them."""
    return frozenset({state}).union(*(reachable(target) for target in NEXT.get(state, ())))


def digest_of(request: dict[str, object]) -> str | None:
    """The digest of a client's body, None for one that is no order."""
    price = request.get("unit_price")
    try:
        return OrderRequest(**request | ({"unit_price": Decimal(str(price))} if price else {})).digest()
    except TypeError:
        return None


def grouped(pairs: Iterable[tuple[str, T]]) -> dict[str, list[T]]:
    """key -> values, in their order."""
    found: dict[str, list[T]] = defaultdict(list)
    for key, value in pairs:
        found[key].append(value)
    return found


def sender(row: Order | Intake) -> str:
    """The (source, seq) as its sender wrote it."""
    return f"{row.source}/{row.seq.partition('~')[0]}"


class Evidence:
    """What the checks look at; nothing here is changed by them."""

    def __init__(self, history: History, books: Books) -> None:
        self.history = history
        self.books = books

    @cached_property
    def items(self) -> dict[int, Item]:
        """By id."""
        return {item.id: item for item in self.books.items}

    def terms(self, item_id: int, version: int | None) -> Terms:
        """Of this version; the present ones where it is not known."""
        item = self.items[item_id]
        return self.books.terms.get((item_id, version or 0), Terms(item.price, item.currency, item.per_customer))

    @cached_property
    def gates(self) -> dict[int, Gate]:
        """By item."""
        return {gate.item: gate for gate in self.books.gates}

    @cached_property
    def orders(self) -> dict[str, Order]:
        """By id."""
        return {order.id: order for order in self.books.orders}

    @cached_property
    def intake(self) -> dict[str, Intake]:
        """By id."""
        return {order.id: order for order in self.books.intake}

    @cached_property
    def taken(self) -> list[Order | Intake]:
        """Every order that the ledger has."""
        return [*self.books.orders, *self.books.intake]

    @cached_property
    def events(self) -> dict[str, list[Event]]:
        """By order."""
        return grouped((event.order, event) for event in self.books.events)

    @cached_property
    def payments(self) -> dict[str, list[Payment]]:
        """By order."""
        return grouped((payment.order, payment) for payment in self.books.payments)

    @cached_property
    def captures(self) -> dict[str, list[Charge]]:
        """Captured charges by key."""
        return grouped((charge.key, charge) for charge in self.books.charges if charge.outcome == "captured")

    def captured(self, order: Order) -> list[Charge]:
        """What the provider took for this order."""
        return [charge for payment in self.payments.get(order.id, []) for charge in self.captures.get(payment.key, [])]

    @cached_property
    def refunds(self) -> dict[str, list[Refund]]:
        """What the shop asked to be given back, by payment."""
        return grouped((refund.payment, refund) for refund in self.books.refunds)

    @cached_property
    def given_back(self) -> dict[str, list[Decimal]]:
        """What the provider gave back, by the key of its charge."""
        return grouped((refund.key, refund.amount) for refund in self.books.charge_refunds)

    @cached_property
    def placed(self) -> dict[str, list[Operation]]:
        """Order operations by ``source/seq``."""
        return grouped((f"{op.request.get('source')}/{op.request.get('seq')}", op) for op in self.history.of("order"))

    @cached_property
    def acknowledged(self) -> dict[str, Operation]:
        """order -> the first operation that was answered with it."""
        found: dict[str, Operation] = {}
        for operation in self.history.of("order"):
            if operation.result == "ok" and operation.order_id:
                found.setdefault(operation.order_id, operation)
        return found

    @cached_property
    def about(self) -> dict[str, list[Operation]]:
        """Operations on an order that exists, by its id."""
        return grouped((str(op.order_id), op) for op in self.history.of("pay", "cancel", "read"))

    def attempts(self, order: Order | Intake) -> list[Operation]:
        """The operations that asked for exactly this order, whatever became of them."""
        return [op for op in self.placed.get(sender(order), []) if _is_request_of(op, order)]

    def is_lost(self, order: str | None) -> bool:
        """The ledger has written it off because the gate's disk was lost before it was deducted."""
        row = self.orders.get(str(order)) or self.intake.get(str(order))
        return row is not None and row.reason == LOST

    def is_written_off(self, order: Order) -> bool:
        """Of such an order the row keeps only whose it was."""
        return order.reason in (LOST, POISONED)

    def lost_between(self, first: Operation, later: Operation) -> list[Loss]:
        """The gate's disks that were lost after the one began and before the other ended: what it kept of the one is gone."""
        until = later.completed_at or self.books.taken_at
        return [loss for loss in self.books.losses if first.invoked_at <= loss.at <= until]

    @cached_property
    def poison(self) -> frozenset[str]:
        """Orders that the run made impossible on purpose."""
        gone = self.books.gone
        told = {order for order, operation in self.acknowledged.items() if operation.customer in gone}
        taken = {row.id for row in self.taken if row.customer in gone}
        held = {order for gate in self.books.gates for order, (customer, _) in gate.held.items() if customer in gone}
        return self.books.poison | told | taken | held

    def is_poison(self, order: str) -> bool:
        """The run made it impossible on purpose."""
        return order in self.poison

    def waits_for_staff(self, order: str) -> bool:
        """It is poison, and an open dead letter names it."""
        return self.is_poison(order) and any(order in letter.args for letter in self.books.letters)


def _is_request_of(operation: Operation, order: Order | Intake) -> bool:
    body = operation.request
    said = (operation.customer, body.get("sku"), body.get("quantity"), body.get("payment_method") or "", digest_of(body))
    return said == (order.customer, order.sku, order.units, order.method, order.digest)
