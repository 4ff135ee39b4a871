"""One process, killed at one point, and what it left behind."""

import json
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from django.contrib.auth import get_user_model
from rest_framework_simplejwt.tokens import AccessToken

from flashsale.stack.servers import free_port
from inventory.admission import gate
from inventory.models import SaleItem
from orders import holds, placement, services
from orders.models import Intake, Order
from payments.models import Payment, Refund, SandboxCharge
from tasks import sweeps
from tasks.steps import dispatch
from tests.conftest import Process, _answers, eventually
from tests.crash.broker import Broker
from tests.crash.points import POINTS
from tests.crash.scene import METHODS, open_sale

WEB_SCENES = ("order", "cancel", "pay")
WORKER = ("celery", "-A", "flashsale", "worker", "-c", "1", "-I", "tests.crash.armed", "--without-gossip", "--without-mingle")
WEB = (
    "granian",
    "--interface",
    "asginl",
    "--loop",
    "uvloop",
    "--runtime-mode",
    "st",
    "--workers",
    "1",
    "--no-ws",
    "--log-level",
    "warning",
)
_OPEN = ("created", "processing", "unknown")


@dataclass
class Wreck:
    """``orders``: the acknowledged ones. ``repeat``: what the client sends again, and the answer it then got."""

    name: str
    broker: Broker
    sale: object = None
    process: Process | None = None
    evidence: Path = Path()
    orders: list[UUID] = field(default_factory=list)
    remains: dict[str, int] = field(default_factory=dict)
    waiting: list = field(default_factory=list)
    held: list = field(default_factory=list)
    repeat: tuple = ()
    answer: object = None
    settled_after: float | None = None
    report: object = None
    error: BaseException | None = None

    @property
    def point(self):
        return POINTS[self.name]

    def launch(self):
        """Start the process that will die; it has nothing to do yet."""
        scene = self.point.scene
        self.sale = open_sale(self.name, window_s=1 if scene == "expiry" else 600)
        self.sale.sleep()
        self.evidence = Path(tempfile.mkstemp(prefix="crash-")[1])
        self.evidence.unlink()
        self.url = f"http://127.0.0.1:{free_port()}"
        web = [*WEB, "--port", self.url.rsplit(":", 1)[-1], "tests.crash.armed_asgi:application"]
        worker = [*WORKER, "-n", f"doomed{self.sale.item}@%h", "-l", "WARNING"]
        command = web if scene in WEB_SCENES else worker
        self.process = Process(f"doomed-{self.sale.slug}", *command, **self._environment())

    def _environment(self):
        return {
            "CELERY_BROKER_URL": self.broker.url,
            "CRASH_POINT": self.name,
            "CRASH_EVIDENCE": str(self.evidence),
            "CRASH_ITEM": str(self.sale.item),
        }

    def strike(self, live):
        """Let the process come to its point; ``live``: the broker of the workers that live on."""
        getattr(self, f"_{self.point.scene}")(live)
        eventually(lambda: self.process.popen.poll() is not None, within=30, what=f"{self.name}: {self.process.text()}")
        self.waiting, self.held = self.broker.take()
        self.remains = remains(self.sale.item, len(self.waiting) + len(self.held))

    def _place(self):
        for customer, method in zip(self.sale.customers, METHODS[self.point.scene], strict=False):
            self.orders.append(placement.place_order(customer, self.sale.request(customer, method)).order_id)

    def _chain(self, _live):
        self._place()
        self.broker.send(dispatch.dispatch, self.sale.item)

    _expiry = _chain

    def _stolen(self, _live):
        self._place()
        assert len(gate.claim(self.sale.item, consumer="dead", limit=10, in_flight=10).entries) == 3
        # The sweep steals a claim that has stood still for some seconds: ask until it does.
        for _ in range(8):
            self.broker.send(sweeps.sweep)
            try:
                self.process.popen.wait(1)
            except subprocess.TimeoutExpired:
                continue
            return

    def _refund(self, live):
        self._place()
        live.send(dispatch.dispatch, self.sale.item)
        eventually(lambda: Order.objects.filter(pk=self.orders[0], status="paid").exists())
        services.refund_by_staff(self.orders[0], "staff")
        self.broker.send(sweeps.sweep_payments)

    def _order(self, _live):
        customer = self.sale.customers[0]
        values = self.sale.request(customer, "pm_ok")
        if self.point.target.endswith("wake"):
            self.sale.wake()
        body = {name: getattr(values, name) for name in ("token", "sku", "quantity", "source", "seq", "payment_method")}
        # The event loop waits for no wake-up: its thread may die before or after the answer.
        self._post_and_lose("/api/v1/orders/", body, customer, may_be_answered=self.point.target.endswith("wake"))

    def _unpaid_row(self, live):
        customer = self.sale.customers[0]
        self.orders.append(placement.place_order(customer, self.sale.request(customer, "")).order_id)
        live.send(dispatch.dispatch, self.sale.item)
        eventually(lambda: Order.objects.filter(pk=self.orders[0], status="pending_payment").exists())
        return customer, f"/api/v1/orders/{self.orders[0]}"

    def _cancel(self, live):
        customer, path = self._unpaid_row(live)
        self._post_and_lose(f"{path}/cancel/", {}, customer)

    def _pay(self, live):
        customer, path = self._unpaid_row(live)
        self._post_and_lose(f"{path}/pay/", {"payment_method": "pm_ok"}, customer)

    def _post_and_lose(self, path, body, customer, *, may_be_answered=False):
        eventually(lambda: _answers(f"{self.url}/health/live"), within=30)
        self.repeat = path, body, customer
        try:
            answer = post(self.url, *self.repeat)
        except OSError:
            return
        assert may_be_answered, f"the client got an answer: {answer}"

    def ask_again(self, url):
        """The client, who knows nothing, sends the same request to a process that lives."""
        self.answer = post(url, *self.repeat)
        self.orders = self.orders or [UUID(self.answer[1]["id"])]


def post(url, path, body, customer):
    """Status, body and headers of the answer.

    Raises:
        OSError: there was none.
    """
    token = AccessToken.for_user(get_user_model().objects.get(pk=customer))
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"{url}{path}", json.dumps(body).encode(), headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=15) as answer:
            return answer.status, json.load(answer), answer.headers
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.load(refusal), refusal.headers


def remains(item, messages):
    """What stands of an item, layer by layer."""
    orders = list(Order.objects.filter(item_id=item).values_list("pk", "status"))
    ids = [pk for pk, _ in orders]
    payments = Counter(Payment.objects.filter(order_id__in=ids).values_list("status", flat=True))
    keys = Payment.objects.filter(order_id__in=ids).values("idempotency_key")
    unclaimed, claimed = gate.waiting([item])[item]
    return {
        "streamed": unclaimed + claimed,
        "claimed": claimed,
        "intake": Intake.objects.filter(item_id=item).count(),
        "orders": len(orders),
        "reserved": SaleItem.objects.get(pk=item).reserved,
        "payments": sum(payments.values()),
        "payments_open": sum(payments[status] for status in _OPEN),
        "charges": SandboxCharge.objects.filter(idempotency_key__in=keys).count(),
        "refunded": SandboxCharge.objects.filter(idempotency_key__in=keys, refund__isnull=False).count(),
        "refunds_open": Refund.objects.filter(payment__order_id__in=ids, status="requested").count(),
        "effects": holds.in_flight([item]).get(item, holds.InFlight()).effects,
        "held": len(gate.snapshot(item).held),
        "messages": messages,
    }
