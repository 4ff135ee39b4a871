"""A small sale over the real API, PostgreSQL and Valkey; the steps of the pipeline are run here, one after the other."""

import time
from datetime import timedelta

import redis
from django.conf import settings

from flashsale.core.clock import now
from flashsale.core.redis_client import gate_client
from inventory.admission import gate, keys
from orders.models import Intake, Order
from payments.models import Payment, Refund, SandboxCharge
from tasks import sweeps
from tasks.steps.create_orders import create_orders
from tasks.steps.deduct_inventory import deduct_inventory
from tasks.steps.request_payments import request_payments
from tests.chaos.books import collect
from tests.chaos.checker import Verdict, check
from tests.chaos.history import History, Kind, Operation
from tests.conftest import client_of

_API = "/api/v1"


class Killed(BaseException):
    """The process died here."""


class SmallSale:
    """One item, some customers, and what they saw."""

    def __init__(self, item, customers):
        self.item = item
        self.customers = customers
        self.history = History()
        self._clients = {customer.pk: client_of(customer) for customer in customers}
        for client in self._clients.values():
            client.raise_request_exception = False

    def _call(self, kind: Kind, who: int, request: dict, method: str, path: str, body: dict | None = None) -> Operation:
        customer = self.customers[who].pk
        operation = self.history.begin(kind, customer, request, time.time())
        answer = getattr(self._clients[customer], method)(f"{_API}/{path}", body, format="json")
        is_replayed = "Idempotency-Replayed" in answer.headers
        operation.complete(time.time(), answer.status_code, answer.json(), replayed=is_replayed)
        return operation

    def body(self, who: int, seq: str, *, quantity: int = 1, method: str = "pm_ok") -> dict:
        """An order's request, with a token of its own."""
        path = f"sales/drop/items/{self.item.product.sku}/purchase-tokens/"
        op = self._call("token", who, {}, "post", path)
        assert "token" in op.answer, op
        token = op.answer["token"]
        body = {"token": token, "sku": self.item.product.sku, "quantity": quantity, "source": "shop", "seq": seq}
        return body | ({"payment_method": method} if method else {})

    def send(self, who: int, body: dict) -> Operation:
        """Order. Nobody else is woken for it: a worker of other tests has none of the faults that are planted here."""
        gate_client().hset(keys.meta(self.item.pk), "awake_until", 9_999_999_999_999_999)
        return self._call("order", who, body, "post", "orders/", body)

    def buy(self, who: int, seq: str, **body) -> Operation:
        """A token and an order."""
        return self.send(who, self.body(who, seq, **body))

    def cancel(self, who: int, order: str) -> Operation:
        """Call it off."""
        return self._call("cancel", who, {"order": order}, "post", f"orders/{order}/cancel/", {})

    def read(self, who: int, order: str) -> Operation:
        """Look at it."""
        return self._call("read", who, {"order": order}, "get", f"orders/{order}/")

    def work(self) -> None:
        """Claim what waits, and what a dead worker held, and take it through the steps; may be killed in between."""
        fresh = gate.claim(self.item.pk, consumer="here", limit=100, in_flight=1000).entries
        entries = fresh + gate.steal(self.item.pk, consumer="heir", idle_ms=0, limit=100).entries
        batch = [[entry, order.as_payload()] for entry, order in dict(entries).items()]
        try:
            request_payments(create_orders(deduct_inventory(self.item.pk, batch)))
        except Killed:
            return

    def settle(self) -> None:
        """Time passes, what was lost is found, and every deadline comes; messages that no worker takes are lost."""
        for _ in range(4):
            self.work()
            long_ago = now() - timedelta(seconds=10)
            Intake.objects.update(created_at=long_ago)
            Order.objects.filter(status="reserved").update(updated_at=long_ago)
            Payment.objects.update(next_attempt_at=long_ago)
            Refund.objects.update(next_attempt_at=long_ago)
            SandboxCharge.objects.update(decided_at=long_ago)
            sweeps.run_all()
        Order.objects.filter(status="pending_payment").update(expires_at=now())
        sweeps.run_all()
        with redis.Redis.from_url(settings.CELERY_BROKER_URL) as broker:
            broker.delete(*settings.QUEUES)

    def trade(self) -> None:
        """Everything that a small sale has: paid, unpaid, called off too late, repeated, mistaken, refused."""
        first = self.body(0, "paid")
        paid = self.send(0, first)
        self.send(0, first)
        self.buy(1, "unknown", method="pm_unknown")
        self.buy(2, "unpaid", method="", quantity=2)
        late = self.buy(3, "late", method="pm_slow")
        self.read(0, paid.order_id)
        self.work()
        self.read(0, paid.order_id)
        self.cancel(0, paid.order_id)
        self.cancel(3, late.order_id)
        self.send(0, first)
        self.send(0, first | {"seq": "same-token"})
        self.send(0, first | {"quantity": 2})
        self.send(4, first)
        self.buy(4, "two", quantity=2)
        self.work()
        self.buy(4, "third")
        self.settle()
        self.read(0, paid.order_id)

    def verdict(self) -> Verdict:
        """What the checker says of it."""
        return check(self.history, collect(["drop"]))
