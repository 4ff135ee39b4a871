"""Builds the record of a sale in which all went well: what its clients saw and what the books hold, in step. Nothing runs."""

from collections import Counter
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from tests.chaos.evidence import BOUGHT, HOLDING, digest_of
from tests.chaos.history import History, Kind, Operation
from tests.chaos.rows import Books, Charge, ChargeRefund, Event, Gate, Item, Movement, Order, Payment, Refund

Ending = Literal["paid", "paid_later", "unpaid", "called_off", "late_money", "refunded", "sold_out", "waiting"]
ENDINGS: tuple[Ending, ...] = ("paid", "paid_later", "unpaid", "called_off", "late_money", "refunded", "sold_out", "waiting")
_CHARGED_BY_THE_CHAIN = frozenset({"paid", "late_money", "refunded"})
_WINDOW_S = 600.0
_ITEM, _SKU, _PRICE = 7, "thing", Decimal("12.34")

# ending -> states after queued, reason, movements, how the money went
_LIVES: dict[Ending, tuple[tuple[str, ...], str, tuple[str, ...]]] = {
    "paid": (("reserved", "pending_payment", "paid"), "", ("reserve", "sell")),
    "paid_later": (("reserved", "pending_payment", "paid"), "", ("reserve", "sell")),
    "unpaid": (("reserved", "pending_payment", "cancelled"), "payment_timeout", ("reserve", "release")),
    "called_off": (("reserved", "pending_payment", "cancelled"), "by_customer", ("reserve", "release")),
    "late_money": (("reserved", "pending_payment", "cancelled"), "by_customer", ("reserve", "release")),
    "refunded": (("reserved", "pending_payment", "paid", "refunded"), "by_staff", ("reserve", "sell")),
    "sold_out": (("rejected",), "sold_out", ()),
    "waiting": (("reserved", "pending_payment"), "", ("reserve",)),
}


class RecordedSale:
    """Orders are added one after the other; ``close`` completes ``books``."""

    def __init__(self, units: int = 20, per_customer: int = 2) -> None:
        self.history = History()
        self.item = Item(_ITEM, _SKU, _PRICE, "EUR", per_customer, units, units, 0, 0)
        self.books = Books(taken_at=0.0, items=[self.item], movements=[Movement(_ITEM, "allocate", units, None)])
        self._at = 1_000.0
        self._numbers = iter(range(1, 1_000_000))

    def tick(self) -> float:
        """The next moment."""
        self._at += 0.25
        return self._at

    def told(self, kind: Kind, customer: int, request: dict[str, Any], status: int | None, answer: Any) -> Operation:
        """One operation and its answer."""
        operation = self.history.begin(kind, customer, request, self.tick())
        operation.complete(self.tick(), status, answer)
        return operation

    def body(self, units: int = 1, method: str = "pm_ok", seq: str | None = None) -> dict[str, Any]:
        """What a client sends, with a token and, unless told, a seq of its own."""
        number = next(self._numbers)
        body = {"token": f"t{number}", "sku": _SKU, "quantity": units, "source": "shop", "seq": seq or f"s{number}"}
        return body | ({"payment_method": method} if method else {})

    def buy(
        self,
        customer: int,
        ending: Ending = "paid",
        units: int = 1,
        *,
        status: int | None = 202,
        watched: bool = True,
        **body: Any,
    ) -> Order:
        """One order from its request to its end.

        Args:
            status: of the answer; None when it was lost.
            watched: its customer looks at every step.
            body: what the client sends instead of the usual.
        """
        steps, reason, movements = _LIVES[ending]
        method = "pm_ok" if ending in _CHARGED_BY_THE_CHAIN else ""
        request = (
            self.body(units, **{"method": method} | {key: body.pop(key) for key in ("method", "seq") if key in body}) | body
        )
        order_id = str(UUID(int=next(self._numbers)))
        operation = self.history.begin("order", customer, request, self.tick())
        order = self._row(order_id, customer, request, reason)
        self._event(order, "queued")
        operation.complete(self.tick(), status, {"id": order_id, "status": "queued", "status_url": "/"} if status else None)
        self.books.movements += [Movement(_ITEM, kind, units, order_id) for kind in movements]
        for step in steps:
            self._before(order, ending, step)
            self._event(order, step)
            if watched:
                self.read(order)
        if ending == "late_money":
            self._pay(order, "chain", back=True)
        return order

    def _row(self, order_id: str, customer: int, request: dict[str, Any], reason: str) -> Order:
        order = Order(
            id=order_id,
            item=_ITEM,
            customer=customer,
            sku=_SKU,
            units=request["quantity"],
            price=_PRICE,
            currency="EUR",
            source=request["source"],
            seq=request["seq"],
            digest=str(digest_of(request)),
            method=request.get("payment_method", ""),
            status="queued",
            reason=reason,
            expires_at=self._at + _WINDOW_S,
        )
        self.books.orders.append(order)
        return order

    def _event(self, order: Order, status: str) -> None:
        order.status = status
        self.books.events.append(Event(order.id, status, self.tick()))

    def _before(self, order: Order, ending: Ending, step: str) -> None:
        if step == "paid":
            if ending == "paid_later":
                self.told("pay", order.customer, {"order": order.id, "payment_method": "pm_ok"}, 202, self.view(order))
            self._pay(order, "customer" if ending == "paid_later" else "chain", back=ending == "refunded")
        if step == "cancelled" and ending == "unpaid":
            order.expires_at = self._at
        elif step == "cancelled":
            self.told("cancel", order.customer, {"order": order.id}, 200, {**self.view(order), "status": "cancelled"})

    def _pay(self, order: Order, origin: str, *, back: bool) -> None:
        number = next(self._numbers)
        key = f"key{number}"
        payment = Payment(
            f"payment{number}", order.id, order.total, order.currency, "pm_ok", origin, key, "succeeded", applied=True
        )
        self.books.payments.append(payment)
        self.books.charges.append(Charge(f"ch{number}", key, order.total, order.currency, "pm_ok", "captured"))
        if back:
            self.books.refunds.append(Refund(payment.id, order.total, "succeeded"))
            self.books.charge_refunds.append(ChargeRefund(key, order.total))

    def read(self, order: Order) -> Operation:
        """Its customer looks."""
        return self.told("read", order.customer, {"order": order.id}, 200, self.view(order))

    def view(self, order: Order) -> dict[str, Any]:
        """The order as the API shows it now."""
        return {
            "id": order.id,
            "status": order.status,
            "reason": order.reason,
            "sku": order.sku,
            "quantity": order.units,
            "total": str(order.total),
            "currency": order.currency,
            "source": order.source,
            "seq": order.seq if order.source else "",
            "history": [{"status": event.status} for event in self.books.events if event.order == order.id],
        }

    def close(self) -> "RecordedSale":
        """Count the stock and the gate as they must be now."""
        orders = self.books.orders
        held = {order.id: (order.customer, order.units) for order in orders if order.status in HOLDING}
        buyers: Counter[int] = Counter()
        for order in orders:
            if order.status in HOLDING | BOUGHT:
                buyers[order.customer] += order.units
        self.item.reserved = sum(units for _, units in held.values())
        self.item.sold = sum(order.units for order in orders if order.status in BOUGHT)
        self.item.available = self.item.allocated - self.item.reserved - self.item.sold
        gate = Gate(_ITEM, allocated=self.item.allocated, stock=self.item.available, sold=self.item.sold, held=held)
        gate.buyers = dict(buyers)
        self.books.gates = [gate]
        self.books.taken_at = self.tick()
        return self
