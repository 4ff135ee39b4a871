"""One sale with everything in it that may happen in a sale that goes well."""

from uuid import UUID

from tests.chaos.evidence import LOST, POISONED
from tests.chaos.history import Operation
from tests.chaos.recorded_sale import ENDINGS, RecordedSale
from tests.chaos.rows import Charge, Event, Intake, Letter, Loss, Message, Movement, Order, Payment

_POISON = "00000000-0000-0000-0000-00000000dead"


class CleanSale(RecordedSale):
    """``cast``: the orders, by their endings; ``silent`` is one that nobody looks at. ``rejected``: it cannot be a row."""

    def __init__(self) -> None:
        super().__init__(units=30)
        lost = self._add_a_lost_disk()
        self.cast = {str(ending): self.buy(customer, ending) for customer, ending in enumerate(ENDINGS, 1)}
        self.cast["silent"] = self.buy(20, "paid", 2, watched=False)
        self.cast["lost"] = lost
        self.cast["spoilt"] = self._add_a_spoilt_order()
        self._add_a_customer_who_is_gone()
        self._add_repetitions()
        self._add_lost_answers()
        self._add_poison()
        self.books.messages = [Message("dispatch", "tasks.sweep"), Message("unacked", "tasks.cancel_unpaid", due_at=1e9)]
        self.books.messages.append(Message("unacked", "tasks.create_orders", returns_at=1e9))
        self.close()
        self.books.healed_at, self.books.settled_at = 900.0, self.books.taken_at

    def _add_repetitions(self) -> None:
        order = self.cast["paid"]
        first = self.asked(order)
        self.told("order", 1, first.request, 202, first.answer)
        self.told("order", 1, first.request, 429, {"code": "rate_limited"})
        self.told("order", 1, first.request | {"quantity": 2}, 422, {"code": "idempotency_mismatch"})
        self.told("order", 2, first.request, 409, {"code": "seq_taken"})
        self.told("read", 2, {"order": order.id}, 404, {"code": "not_found"})

    def _add_lost_answers(self) -> None:
        self.buy(21, "paid", status=None)
        self.told("order", 22, self.body(), None, None)
        self.told("order", 23, self.body(), 409, {"code": "sold_out"})
        refused = self.body(seq="again")
        self.told("order", 24, refused, 503, {"code": "busy"})
        self.buy(24, "paid", **refused | {"method": refused.pop("payment_method")})

    def _add_poison(self) -> None:
        self.told("order", 25, self.body(seq="poison"), 202, {"id": _POISON})
        self.books.letters = [Letter(1, "tasks.deduct_inventory", f"[[['1-1', {{'id': '{_POISON}'}}]]]", "planted")]
        self.books.poison = frozenset({_POISON, self.cast["spoilt"].id})

    def _add_a_lost_disk(self) -> Order:
        request = self.body(2)
        order = self._row(str(UUID(int=next(self._numbers))), 26, request, "")
        self._event(order, "queued")
        self.told("order", 26, request, 202, {"id": order.id})
        self.read(order)
        self.books.losses = [Loss(self.tick(), frozenset({order.id}))]
        self.told("order", 26, request, 409, {"code": "token_invalid"})
        self.told("order", 27, request | {"token": "another"}, 409, {"code": "sold_out"})
        self.told("read", 26, {"order": order.id}, 503, {"code": "unavailable"})
        self._write_off(order, LOST)
        self.buy(26, "paid", seq=request["seq"])
        return order

    def _add_a_customer_who_is_gone(self) -> None:
        self.books.gone = frozenset({28})
        request = self.body()
        self.rejected = Intake(
            id=str(UUID(int=next(self._numbers))),
            item=self.item.id,
            customer=28,
            sku=self.item.sku,
            units=0,
            price=self.item.price,
            currency="EUR",
            source="",
            seq="",
            digest="",
            method="",
            reason=POISONED,
        )
        order = {"order": self.rejected.id}
        self.told("order", 28, request, 202, {"id": self.rejected.id})
        self.told("read", 28, order, 200, {"status": "reserved", "reason": ""})
        self.books.intake.append(self.rejected)
        self.books.movements += [Movement(self.item.id, kind, 1, self.rejected.id) for kind in ("reserve", "release")]
        self.told("read", 28, order, 200, {"status": "rejected", "reason": POISONED})

    def _add_a_spoilt_order(self) -> Order:
        order = self._row(str(UUID(int=next(self._numbers))), 29, self.body(), "")
        self._event(order, "queued")
        self.told("order", 29, self.body(seq=order.seq), 202, {"id": order.id})
        self.read(order)
        self.books.movements += [Movement(self.item.id, kind, 1, order.id) for kind in ("reserve", "release")]
        self.told("read", 29, {"order": order.id}, 200, self.view(order) | {"status": "reserved"})
        self._write_off(order, POISONED)
        return order

    def _write_off(self, order: Order, reason: str) -> None:
        order.reason, order.units, order.source, order.seq, order.digest = reason, 0, "", order.id, ""
        self._event(order, "rejected")
        self.read(order)

    def first_of_lost(self) -> Operation:
        """The request of the order that went with the gate's disk."""
        return next(op for op in self.history.of("order") if op.order_id == self.cast["lost"].id)

    def last_of_lost(self) -> Operation:
        """The answer that gave it an end."""
        return [op for op in self.history.of("read") if op.order_id == self.cast["lost"].id][-1]

    def asked(self, order: Order) -> Operation:
        """The operation that made it."""
        return next(op for op in self.history.of("order") if op.request["seq"] == order.seq)

    def payment(self, order: Order) -> Payment:
        """Its payment."""
        return next(payment for payment in self.books.payments if payment.order == order.id)

    def charge(self, order: Order) -> Charge:
        """Its charge, in the provider's book."""
        return next(charge for charge in self.books.charges if charge.key == self.payment(order).key)

    def event(self, order: Order, status: str) -> Event:
        """The line of its history."""
        return next(event for event in self.books.events if (event.order, event.status) == (order.id, status))
