"""The client for threads."""

import threading
import time
from collections.abc import Callable, Collection, Iterator
from decimal import Decimal
from types import TracebackType
from typing import Any, Self
from uuid import UUID, uuid4

import httpx

from flashsale_client import wire
from flashsale_client.errors import FlashsaleError, NoAnswer
from flashsale_client.flows import Flows
from flashsale_client.models import FINAL, Accepted, Order, OrderRequest, Page, PaymentAction, Place, PurchaseToken, Sale
from flashsale_client.session import Session
from flashsale_client.steps import Answer, Deadline, Flow, Pause, Request, Result, Step


def ignore(_place: Place) -> None:
    """Nobody wants to know about the wait."""


class Client:
    """A customer of one shop. Threads may share it. Close it, or use it in a ``with`` statement.

    Every method raises FlashsaleError: Problem and its subclasses for a refusal, NoAnswer where there was no answer within the
    deadline. Requests that fail for the moment are repeated; each of the API's requests may be sent twice.
    """

    def __init__(
        self,
        base_url: str,
        *,
        username: str | None = None,
        password: str | None = None,
        access_token: str | Callable[[], str] | None = None,
        refresh_token: str | None = None,
        timeout_s: float = 5.0,
        deadline_s: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """
        Args:
            base_url: the shop's address, such as ``https://shop.example``.
            username, password: for signing in whenever there is no valid token.
            access_token: instead of those, a token, or a function that returns a fresh one when it is needed.
            refresh_token: of an earlier sign-in.
            timeout_s: seconds for each request.
            deadline_s: seconds for a call with its repetitions.
            transport: httpx's, for a proxy or a certificate authority of one's own.
        """
        session = Session.of(username, password, access_token, refresh_token)
        self._flows = Flows(session, timeout_s=timeout_s, deadline_s=deadline_s)
        self._renewing = threading.Lock()
        self._http = httpx.Client(base_url=wire.api_url(base_url), transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def sign_in(self) -> None:
        """Sign in now instead of with the first call that needs it."""
        self._run(self._flows.sign_in())

    def sign_out(self) -> None:
        """End the refresh token and forget both tokens."""
        self._run(self._flows.sign_out())

    def sales(self) -> list[Sale]:
        """All sales, newest first."""
        return self._run(self._flows.sales())

    def sale(self, slug: str) -> Sale:
        """One sale."""
        return self._run(self._flows.sale(slug))

    def purchase_token(
        self, slug: str, sku: str, *, wait_s: float = 600.0, on_wait: Callable[[Place], None] = ignore
    ) -> PurchaseToken:
        """The permission to order once. Waits in line if the item has a waiting room.

        Args:
            slug: of the sale.
            sku: of the item.
            wait_s: the longest wait in line, in seconds; 0 to only take a place.
            on_wait: is called with the place in line whenever it is known anew.

        Raises:
            StillWaiting: the turn did not come in time. Called again within two minutes, the place is kept.
            Problem: SoldOut, NotOpen, Paused, Ended, LimitPerCustomer, TicketLapsed or another.
        """
        return self._run(self._flows.purchase_token(slug, sku, wait_s, on_wait))

    def place_order(self, request: OrderRequest, *, deadline_s: float | None = None) -> Accepted:
        """Place an order. May run twice with the same request, today or tomorrow: there is one order.

        Raises:
            OrderInDoubt: the answer was lost. Call again with ``error.request``.
            Problem: SoldOut, PriceChanged, LimitPerCustomer, TokenInvalid or another; no order was placed.
        """
        return self._run(self._flows.place_order(request, deadline_s))

    def buy(
        self,
        slug: str,
        sku: str,
        *,
        quantity: int = 1,
        payment_method: str | None = None,
        unit_price: Decimal | None = None,
        source: str = "python",
        seq: str | None = None,
        wait_s: float = 600.0,
        on_wait: Callable[[Place], None] = ignore,
    ) -> Accepted:
        """``purchase_token`` and ``place_order``. Each call is a wish of its own: after OrderInDoubt use ``place_order``.

        Args:
            slug: of the sale.
            sku: of the item.
            quantity: units.
            payment_method: charged at once; without it, the order waits for ``pay``.
            unit_price: the price that the customer saw.
            source: who sends the order.
            seq: the sender's own number for it; default: a new UUID.
            wait_s: the longest wait in line, in seconds.
            on_wait: is called with the place in line.
        """
        token = self.purchase_token(slug, sku, wait_s=wait_s, on_wait=on_wait).token
        return self.place_order(OrderRequest(token, sku, quantity, source, seq or str(uuid4()), payment_method, unit_price))

    def order(self, order_id: UUID | str) -> Order:
        """The order's present state."""
        return self._run(self._flows.order(order_id))

    def wait_for_order(self, order_id: UUID | str, *, until: Collection[str] = FINAL, deadline_s: float = 60.0) -> Order:
        """The order, once it has one of these statuses.

        Raises:
            OrderNotFinal: it has none of them in time, or never will.
        """
        return self._run(self._flows.wait_for_order(order_id, until, deadline_s))

    def orders_page(self, *, limit: int | None = None, cursor: str | None = None) -> Page:
        """A page of the customer's orders, at most 100, newest first."""
        return self._run(self._flows.page(limit, cursor))

    def orders(self, *, limit: int | None = None) -> Iterator[Order]:
        """All orders of the customer, newest first; ``limit`` a page."""
        page = self.orders_page(limit=limit)
        yield from page.orders
        while page.cursor is not None:
            page = self.orders_page(limit=limit, cursor=page.cursor)
            yield from page.orders

    def pay(self, order_id: UUID | str, payment_method: str) -> Order:
        """Pay an order. May run twice.

        Raises:
            NotPayable: it is paid, cancelled or not ready.
        """
        return self._run(self._flows.pay(order_id, payment_method))

    def payment_action(self, order_id: UUID | str) -> PaymentAction:
        """Where the customer confirms a payment that ``needs_action``."""
        return self._run(self._flows.payment_action(order_id))

    def cancel(self, order_id: UUID | str) -> Order:
        """Cancel an order. May run twice.

        Raises:
            NotCancellable: it is paid, for example.
        """
        return self._run(self._flows.cancel(order_id))

    def _run(self, flow: Flow[Result]) -> Result:
        try:
            step = next(flow)
            while True:
                try:
                    outcome = self._do(step)
                except FlashsaleError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(outcome)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def _do(self, step: Step) -> Any:
        if isinstance(step, Request):
            return self._send(step)
        if isinstance(step, Pause):
            return time.sleep(step.seconds)
        with self._renewing:
            if self._flows.session.access == step.stale:
                self._run(self._flows.renew())
        return None

    def _send(self, request: Request) -> Answer | NoAnswer:
        deadline = Deadline(request.timeout)
        body = bytearray()
        try:
            with self._http.stream(**wire.arguments(request)) as response:
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > wire.LONGEST_BODY_BYTES:
                        return wire.too_large()
                    if not deadline.left():
                        return wire.too_slow()
                return wire.answer_of(response, bytes(body))
        except httpx.RequestError as error:
            return wire.lost(error)
