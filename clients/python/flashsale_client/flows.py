"""The calls of the API, step by step: what is sent, what is repeated and when, and when a call gives up."""

import itertools
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any
from uuid import UUID

from flashsale_client.errors import FlashsaleError, Invalid, NotAuthenticated, OrderInDoubt, OrderNotFinal
from flashsale_client.line import InLine
from flashsale_client.models import Accepted, Order, OrderRequest, Page, PaymentAction, Place, PurchaseToken, Sale
from flashsale_client.session import Session
from flashsale_client.steps import Answer, Deadline, Flow, Pause, Renew, Request, error_of, jittered, path, read

FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.1, 5.0
FIRST_LOOK_S, LONGEST_LOOK_S = 0.05, 2.0
SHORTEST_TRY_S = 0.2  # a request with less time left would be lost, and leave doubt, for no good


class Flows:
    """``timeout_s`` bounds each request, ``deadline_s`` a call with its repetitions."""

    def __init__(self, session: Session, *, timeout_s: float, deadline_s: float) -> None:
        self.session = session
        self.timeout_s = timeout_s
        self.deadline_s = deadline_s

    def sales(self) -> Flow[list[Sale]]:
        """``GET sales/``"""
        answer = yield from self._ask("GET", path("sales"), is_public=True)
        return read(lambda data: [Sale.of(each) for each in data], answer.data)

    def sale(self, slug: str) -> Flow[Sale]:
        """``GET sales/{slug}/``"""
        return read(Sale.of, (yield from self._ask("GET", path("sales", slug), is_public=True)).data)

    def purchase_token(self, slug: str, sku: str, wait_s: float, on_wait: Callable[[Place], None]) -> Flow[PurchaseToken]:
        """``POST sales/{slug}/items/{sku}/purchase-tokens/``, and the wait in line if there is one."""
        address = path("sales", slug, "items", sku, "purchase-tokens")
        answer = yield from self._ask("POST", address, {})
        if answer.status != 202:
            return read(PurchaseToken.of, answer.data)
        place = read(lambda data: Place.of(data, ticket=data["ticket"]), answer.data)
        line = InLine(path("sales", slug, "items", sku, "waiting-room"), path("waiting-room", place.ticket), place)
        return (yield from line.wait(self.once, Deadline(wait_s), on_wait))

    def place_order(self, request: OrderRequest, deadline_s: float | None) -> Flow[Accepted]:
        """``POST orders/``, the same request each time."""
        try:
            answer = yield from self._ask("POST", path("orders"), request.body(), deadline=self._deadline(deadline_s))
            is_replay = answer.headers.get("idempotency-replayed") == "true"
            return read(lambda data: Accepted(UUID(data["id"]), data.get("status"), is_replay), answer.data)
        except FlashsaleError as error:
            if _is_in_doubt(error):
                raise OrderInDoubt(request) from error
            raise

    def order(self, order_id: UUID | str) -> Flow[Order]:
        """``GET orders/{id}/``"""
        return read(Order.of, (yield from self._ask("GET", path("orders", str(order_id)))).data)

    def wait_for_order(self, order_id: UUID | str, until: Collection[str], deadline_s: float) -> Flow[Order]:
        """``GET orders/{id}/`` until the order has one of these statuses."""
        deadline, order = Deadline(deadline_s), None
        for looked in itertools.count():
            try:
                answer = yield from self._ask("GET", path("orders", str(order_id)), deadline=deadline)
            except FlashsaleError as error:
                if order is None or not error.is_temporary:
                    raise
                raise OrderNotFinal(order) from error
            order = read(Order.of, answer.data)
            if order.status in until:
                return order
            seconds = jittered(min(LONGEST_LOOK_S, FIRST_LOOK_S * 1.5 ** min(looked, 20)))
            if order.is_final or seconds > deadline.left():
                raise OrderNotFinal(order)
            yield Pause(seconds)
        raise AssertionError("unreachable")

    def page(self, limit: int | None, cursor: str | None) -> Flow[Page]:
        """``GET orders/?limit=&cursor=``"""
        given = {"limit": None if limit is None else str(limit), "cursor": cursor}
        answer = yield from self._ask("GET", path("orders"), params={name: value for name, value in given.items() if value})
        return Page(read(lambda data: tuple(Order.of(each) for each in data), answer.data), answer.next_cursor())

    def pay(self, order_id: UUID | str, payment_method: str) -> Flow[Order]:
        """``POST orders/{id}/pay/``"""
        body = {"payment_method": payment_method}
        return read(Order.of, (yield from self._ask("POST", path("orders", str(order_id), "pay"), body)).data)

    def payment_action(self, order_id: UUID | str) -> Flow[PaymentAction]:
        """``POST orders/{id}/payment-action/``"""
        data = (yield from self._ask("POST", path("orders", str(order_id), "payment-action"), {})).data
        return read(lambda data: PaymentAction(url=data["url"], client_secret=data["client_secret"]), data)

    def cancel(self, order_id: UUID | str) -> Flow[Order]:
        """``POST orders/{id}/cancel/``"""
        return read(Order.of, (yield from self._ask("POST", path("orders", str(order_id), "cancel"), {})).data)

    def renew(self) -> Flow[None]:
        """Another access token: from its source, by the refresh token, or by signing in again."""
        if self.session.source is not None:
            self.session.access = self.session.source()
        elif self.session.refresh is None or not (yield from self._refresh()):
            yield from self.sign_in()

    def sign_in(self) -> Flow[None]:
        """``POST auth/token/``"""
        body = {"username": self.session.username, "password": self.session.password}
        self._take((yield from self._ask("POST", path("auth", "token"), body, is_public=True)))

    def sign_out(self) -> Flow[None]:
        """``POST auth/token/revoke/``"""
        if self.session.refresh is not None:
            body = {"refresh": self.session.refresh}
            yield from self._ask("POST", path("auth", "token", "revoke"), body, is_public=True)
        self.session.access = self.session.refresh = None

    def _refresh(self) -> Flow[bool]:
        body = {"refresh": self.session.refresh}
        try:
            self._take((yield from self._ask("POST", path("auth", "token", "refresh"), body, is_public=True)))
        except (NotAuthenticated, Invalid):
            self.session.refresh = None
            if self.session.username is None:
                raise
            return False
        return True

    def _take(self, answer: Answer) -> None:
        self.session.access = read(lambda data: str(data["access"]), answer.data)
        self.session.refresh = answer.data.get("refresh", self.session.refresh)

    def _deadline(self, seconds: float | None = None) -> Deadline:
        return Deadline(self.deadline_s if seconds is None else seconds)

    def _ask(
        self,
        method: str,
        address: str,
        body: dict[str, Any] | None = None,
        *,
        params: dict[str, str] | None = None,
        deadline: Deadline | None = None,
        is_public: bool = False,
    ) -> Flow[Answer]:
        """The answer; a temporary failure is tried again, at the pace that the server names or slower, until the deadline.

        Every request of the API may be sent twice.
        """
        deadline = deadline or self._deadline()
        request = Request(method, address, self.timeout_s, body, params or {})
        failures: list[FlashsaleError] = []
        while True:
            try:
                return (yield from self.once(request, deadline, is_public=is_public))
            except FlashsaleError as error:
                error.earlier = tuple(failures)
                failures.append(error)
                backoff = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2 ** min(len(failures), 10))
                seconds = (error.retry_after or 0) + jittered(backoff)
                if not error.is_temporary or seconds + SHORTEST_TRY_S > deadline.left():
                    raise
            yield Pause(seconds)

    def once(self, request: Request, deadline: Deadline, *, is_public: bool = False) -> Flow[Answer]:
        """The answer to one request; with an expired access token, to the same request with another one.

        Raises:
            FlashsaleError: the request was refused, or its answer was lost.
        """
        may_renew = not is_public and self.session.can_renew
        if may_renew and self.session.access is None:
            yield from _renewed(None)
        while True:
            access = None if is_public else self.session.access
            timeout = max(0.001, min(request.timeout, deadline.left()))
            outcome = yield replace(request, access=access, timeout=timeout)
            error = error_of(outcome)
            if error is None:
                return outcome  # type: ignore[no-any-return]
            if not isinstance(error, NotAuthenticated) or not may_renew:
                raise error
            may_renew = False
            yield from _renewed(access)


def _renewed(stale: str | None) -> Flow[None]:
    try:
        yield Renew(stale)
    except FlashsaleError as error:
        error.may_have_acted = error.is_final = False  # it says nothing about the request that needs the token
        raise


def _is_in_doubt(error: FlashsaleError) -> bool:
    """Whether the request, or an earlier try of it, may have placed the order all the same."""
    is_final = error.is_final and not error.is_temporary
    return not is_final and any(each.may_have_acted for each in (*error.earlier, error))
