"""The client for an event loop of asyncio."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from decimal import Decimal
from types import TracebackType
from typing import Any, Self
from uuid import UUID, uuid4

import httpx

from flashsale_client import wire
from flashsale_client.client import ignore
from flashsale_client.errors import FlashsaleError, NoAnswer
from flashsale_client.flows import Flows
from flashsale_client.models import FINAL, Accepted, Order, OrderRequest, Page, PaymentAction, Place, PurchaseToken, Sale
from flashsale_client.session import Session
from flashsale_client.steps import Answer, Flow, Pause, Request, Result, Step


class AsyncClient:
    """``Client`` with the same methods as coroutines. Tasks of one event loop may share it.

    A call that is cancelled may have taken effect. Keep the OrderRequest of an order until its answer is known.
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
        transport: httpx.AsyncBaseTransport | None = None,
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
        self._renewing = asyncio.Lock()
        self._http = httpx.AsyncClient(base_url=wire.api_url(base_url), transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def sign_in(self) -> None:
        """Sign in now instead of with the first call that needs it."""
        await self._run(self._flows.sign_in())

    async def sign_out(self) -> None:
        """End the refresh token and forget both tokens."""
        await self._run(self._flows.sign_out())

    async def sales(self) -> list[Sale]:
        """All sales, newest first."""
        return await self._run(self._flows.sales())

    async def sale(self, slug: str) -> Sale:
        """One sale."""
        return await self._run(self._flows.sale(slug))

    async def purchase_token(
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
        return await self._run(self._flows.purchase_token(slug, sku, wait_s, on_wait))

    async def place_order(self, request: OrderRequest, *, deadline_s: float | None = None) -> Accepted:
        """Place an order. May run twice with the same request, today or tomorrow: there is one order.

        Raises:
            OrderInDoubt: the answer was lost. Call again with ``error.request``.
            Problem: SoldOut, PriceChanged, LimitPerCustomer, TokenInvalid or another; no order was placed.
        """
        return await self._run(self._flows.place_order(request, deadline_s))

    async def buy(
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
        token = (await self.purchase_token(slug, sku, wait_s=wait_s, on_wait=on_wait)).token
        return await self.place_order(
            OrderRequest(token, sku, quantity, source, seq or str(uuid4()), payment_method, unit_price)
        )

    async def order(self, order_id: UUID | str) -> Order:
        """The order's present state."""
        return await self._run(self._flows.order(order_id))

    async def wait_for_order(self, order_id: UUID | str, *, until: Collection[str] = FINAL, deadline_s: float = 60.0) -> Order:
        """The order, once it has one of these statuses.

        Raises:
            OrderNotFinal: it has none of them in time, or never will.
        """
        return await self._run(self._flows.wait_for_order(order_id, until, deadline_s))

    async def orders_page(self, *, limit: int | None = None, cursor: str | None = None) -> Page:
        """A page of the customer's orders, at most 100, newest first."""
        return await self._run(self._flows.page(limit, cursor))

    async def orders(self, *, limit: int | None = None) -> AsyncIterator[Order]:
        """All orders of the customer, newest first; ``limit`` a page."""
        page = await self.orders_page(limit=limit)
        for order in page.orders:
            yield order
        while page.cursor is not None:
            page = await self.orders_page(limit=limit, cursor=page.cursor)
            for order in page.orders:
                yield order

    async def pay(self, order_id: UUID | str, payment_method: str) -> Order:
        """Pay an order. May run twice.

        Raises:
            NotPayable: it is paid, cancelled or not ready.
        """
        return await self._run(self._flows.pay(order_id, payment_method))

    async def payment_action(self, order_id: UUID | str) -> PaymentAction:
        """Where the customer confirms a payment that ``needs_action``."""
        return await self._run(self._flows.payment_action(order_id))

    async def cancel(self, order_id: UUID | str) -> Order:
        """Cancel an order. May run twice.

        Raises:
            NotCancellable: it is paid, for example.
        """
        return await self._run(self._flows.cancel(order_id))

    async def _run(self, flow: Flow[Result]) -> Result:
        try:
            step = next(flow)
            while True:
                try:
                    outcome = await self._do(step)
                except FlashsaleError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(outcome)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    async def _do(self, step: Step) -> Any:
        if isinstance(step, Request):
            return await self._send(step)
        if isinstance(step, Pause):
            return await asyncio.sleep(step.seconds)
        async with self._renewing:
            if self._flows.session.access == step.stale:
                await self._run(self._flows.renew())
        return None

    async def _send(self, request: Request) -> Answer | NoAnswer:
        body = bytearray()
        try:
            async with asyncio.timeout(request.timeout), self._http.stream(**wire.arguments(request)) as response:
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > wire.LONGEST_BODY_BYTES:
                        return wire.too_large()
                return wire.answer_of(response, bytes(body))
        except TimeoutError:
            return wire.too_slow()
        except httpx.RequestError as error:
            return wire.lost(error)
