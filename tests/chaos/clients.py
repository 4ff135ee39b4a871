"""Open-loop clients over real HTTP: they arrive at their time whether or not the shop answers, and misbehave now and then."""

import asyncio
import random
import time
from typing import Any

import aiohttp

from tests.chaos.history import History, Kind, Operation
from tests.chaos.shop import WINDOW_S, Customer, Stage

_TIMEOUT = aiohttp.ClientTimeout(total=8, connect=3)
_REPEATS = 4
_METHODS = ("pm_ok", "pm_declined", "pm_unknown", "pm_unavailable", "pm_slow", None)
_WEIGHTS = (40, 8, 10, 8, 6, 28)
_LATER_METHODS = ("pm_ok", "pm_declined", "pm_unknown", "pm_slow")
_SPARE_SHARE = 0.35
_GONE_SHARE = 0.03
_ASKING = 8  # at once, when all is over


class Crowd:
    """All clients of a sale, between ``async with``'s two ends. ``history`` is what they saw."""

    def __init__(self, url: str, stage: Stage, *, seed: int, rate: float, seconds: float) -> None:
        """
        Args:
            url: the shop's address: its gateway.
            rate: arrivals per second, on average.
            seconds: for how long they arrive.
        """
        self._url = url
        self._stage = stage
        self._rate = rate
        self._seconds = seconds
        self._seed = seed
        self._chance = random.Random(f"crowd:{seed}")
        self.history = History()

    async def run(self) -> None:
        """Until the last of them has heard its last answer, or given up."""
        started_at, at, number = time.monotonic(), 0.0, 0
        running = set()
        while (at := at + self._chance.expovariate(self._rate)) < self._seconds:
            await asyncio.sleep(max(0.0, started_at + at - time.monotonic()))
            chance = random.Random(f"buyer:{self._seed}:{number}")
            running.add(asyncio.create_task(_Buyer(self, chance, f"{number}").visit()))
            number += 1
        await asyncio.gather(*running)

    async def probe(self, within_s: float) -> float | None:
        """Seconds until somebody could buy and pay again; None if nobody could in time."""
        began, number = time.monotonic(), 0
        while time.monotonic() - began < within_s:
            buyer = _Buyer(self, random.Random(f"probe:{self._seed}:{number}"), f"probe-{number}")
            if await buyer.buys_spare(began + within_s):
                return time.monotonic() - began
            number += 1
            await asyncio.sleep(0.2)
        return None

    async def ask_all(self, within_s: float) -> list[str]:
        """Every customer looks at each of their orders until they are answered; the orders of which they were not, within so
        many seconds from when they first asked. A few ask at a time, so that thousands of them are no load of their own.
        """
        told = {op.order_id: op.customer for op in self.history.of("order") if op.result == "ok" and op.order_id}
        customers = {customer.id: customer for customer in (*self._stage.customers, *self._stage.gone)}
        turns = asyncio.Semaphore(_ASKING)

        async def ask(order: str) -> bool:
            async with turns:
                deadline = time.monotonic() + within_s
                while time.monotonic() < deadline:
                    path = f"/api/v1/orders/{order}/"
                    seen = await self.send("read", customers[told[order]], {"order": order}, path)
                    if seen.result != "unknown":
                        return True
                    await asyncio.sleep(0.3)
            return False

        answered = await asyncio.gather(*map(ask, told))
        return [order for order, is_answered in zip(told, answered, strict=True) if not is_answered]

    async def __aenter__(self) -> "Crowd":
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=5)
        # Each customer brings cookies of their own.
        self._http = aiohttp.ClientSession(timeout=_TIMEOUT, connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def send(
        self, kind: Kind, customer: Customer, request: dict[str, Any], path: str, body: dict[str, Any] | None = None
    ) -> Operation:
        """One call, written down before it is sent and when it ends."""
        operation = self.history.begin(kind, customer.id, request, time.time())
        url = self._url + path
        method = "GET" if kind == "read" else "POST"
        try:
            async with self._http.request(method, url, json=body, headers=customer.credentials) as response:
                answer = await response.json(content_type=None)
                replayed = response.headers.get("Idempotency-Replayed") == "true"
                operation.complete(time.time(), response.status, answer, replayed=replayed)
        except (TimeoutError, aiohttp.ClientError, ValueError):
            operation.complete(time.time(), None, None)
        return operation

    @property
    def stage(self) -> Stage:
        """The sale they came for."""
        return self._stage


class _Buyer:
    """One visit of one customer."""

    def __init__(self, crowd: Crowd, chance: random.Random, name: str) -> None:
        self._crowd = crowd
        self._chance = chance
        stage = crowd.stage
        scarce = [sku for sku in stage.per_customer if sku != stage.spare]
        self._sku = stage.spare if chance.random() < _SPARE_SHARE else chance.choice(scarce)
        self._is_gone = chance.random() < _GONE_SHARE and not name.startswith("probe")
        self._customer = chance.choice(stage.gone if self._is_gone else stage.customers)
        self._seq = f"{stage.slug}:{name}"

    async def visit(self) -> None:
        """Token, order, and what comes of it."""
        body = await self._body()
        if body is None:
            return
        order = await self._order(body)
        if order is None:
            return
        if self._is_gone:
            await self._look(order)
            return
        await self._misbehave(body)
        await asyncio.gather(self._follow_up(order, body), self._look(order))

    async def buys_spare(self, deadline: float) -> bool:
        """Whether an order of the spare item is paid before ``deadline`` (of the monotonic clock)."""
        self._sku = self._crowd.stage.spare
        body = await self._body()
        order = body and await self._order(body | {"payment_method": "pm_ok", "quantity": 1})
        while order and time.monotonic() < deadline:
            seen = await self._read(order)
            if (seen.answer or {}).get("status") == "paid":
                return True
            await asyncio.sleep(0.2)
        return False

    async def _body(self, customer: Customer | None = None) -> dict[str, Any] | None:
        token = await self._token(customer or self._customer)
        if token is None:
            return None
        body: dict[str, Any] = {
            "token": token,
            "sku": self._sku,
            "quantity": self._chance.randint(1, self._crowd.stage.per_customer[self._sku]),
            "source": "chaos",
            "seq": self._seq,
        }
        if self._chance.random() < 0.5:
            body["unit_price"] = self._crowd.stage.prices[self._sku]
        method = self._chance.choices(_METHODS, _WEIGHTS)[0]
        return body | ({"payment_method": method} if method else {})

    async def _token(self, customer: Customer) -> str | None:
        slug = self._crowd.stage.slug
        path = f"/api/v1/sales/{slug}/items/{self._sku}/purchase-tokens/"
        for attempt in range(_REPEATS):
            seen = await self._crowd.send("token", customer, {"slug": slug, "sku": self._sku}, path, {})
            if seen.result == "ok":
                return str((seen.answer or {})["token"])
            if seen.result == "refused" and (seen.answer or {}).get("code") not in ("paused", "rate_limited", "busy"):
                return None
            await self._pause(attempt)
        return None

    async def _order(self, body: dict[str, Any], customer: Customer | None = None) -> str | None:
        """The order's id; the same request again after a lost answer, and now and then after a good one."""
        found = None
        for attempt in range(_REPEATS):
            seen = await self._crowd.send("order", customer or self._customer, body, "/api/v1/orders/", body)
            if seen.result == "ok":
                found = str((seen.answer or {})["id"])
                if self._chance.random() > 0.15:
                    return found
            elif seen.result == "refused" and (seen.answer or {}).get("code") not in ("paused", "rate_limited", "busy"):
                return found
            await self._pause(attempt)
        return found

    async def _misbehave(self, body: dict[str, Any]) -> None:
        draw = self._chance.random()
        if draw < 0.08:
            changed = body | {"payment_method": "pm_slow" if body.get("payment_method") != "pm_slow" else "pm_ok"}
            await self._crowd.send("order", self._customer, changed, "/api/v1/orders/", changed)
        elif draw < 0.16:
            thief = self._chance.choice(self._crowd.stage.customers)
            stolen = await self._body(thief)
            if stolen is not None and thief != self._customer:
                await self._crowd.send("order", thief, stolen, "/api/v1/orders/", stolen)

    async def _follow_up(self, order: str, body: dict[str, Any]) -> None:
        """Unpaid orders are paid, cancelled or left alone; now and then a paid one is to be cancelled, which is refused."""
        draw = self._chance.random()
        if "payment_method" in body and draw > 0.1:
            return
        await asyncio.sleep(self._chance.uniform(0.05, 1.3 * WINDOW_S))
        if draw < 0.55:
            await self._act("pay", order, {"payment_method": self._chance.choice(_LATER_METHODS)})
        elif draw < 0.8:
            await self._act("cancel", order, {})

    async def _act(self, kind: Kind, order: str, body: dict[str, Any]) -> None:
        for attempt in range(_REPEATS):
            seen = await self._crowd.send(
                kind, self._customer, {"order": order, **body}, f"/api/v1/orders/{order}/{kind}/", body
            )
            if seen.result != "unknown" and self._chance.random() > 0.15:
                return
            await self._pause(attempt)

    async def _look(self, order: str) -> None:
        for _ in range(self._chance.randint(0, 3)):
            await asyncio.sleep(self._chance.uniform(0.05, 2.5))
            await self._read(order)

    async def _read(self, order: str) -> Operation:
        return await self._crowd.send("read", self._customer, {"order": order}, f"/api/v1/orders/{order}/")

    async def _pause(self, attempt: int) -> None:
        await asyncio.sleep(0.3 * 2**attempt * self._chance.uniform(0.5, 1.5))
