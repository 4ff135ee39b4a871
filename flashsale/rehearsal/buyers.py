"""Simulated buyers over real HTTP, open loop: each arrives at its time, whether the shop keeps up or not."""

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from flashsale.rehearsal.sign_ins import Password, SignIns

_TIMEOUT = aiohttp.ClientTimeout(total=20)
_CONNECTIONS = 256
_ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """``rate``: arrivals per second, at even distances; ``buyers``: each one's access token, or what they sign in with."""

    url: str
    slug: str
    sku: str
    rate: float
    buyers: Sequence[str | Password]
    seed: int = 1


@dataclass(slots=True)
class FleetTally:
    """One fleet's buyers per second: when they came, were admitted, or were refused by a limit."""

    offered: Counter[int] = field(default_factory=Counter)
    admitted: Counter[int] = field(default_factory=Counter)
    limited: Counter[int] = field(default_factory=Counter)


@dataclass(slots=True)
class Tally:
    """What the buyers saw, per second since the start."""

    offered: Counter[int] = field(default_factory=Counter)
    admitted: Counter[int] = field(default_factory=Counter)
    shed: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    server_errors: Counter[str] = field(default_factory=Counter)
    orders: list[str] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)
    lag_ms: float = 0.0
    sign_ins: SignIns = field(default_factory=SignIns)
    fleets: dict[str, FleetTally] = field(default_factory=lambda: defaultdict(FleetTally))


def _method(chance: random.Random) -> str | None:
    """Most pay at once, some are declined, some leave it for later."""
    draw = chance.random()
    return "pm_ok" if draw < 0.9 else "pm_declined" if draw < 0.95 else None


class Crowd:
    """All buyers of one plan."""

    def __init__(self, plan: Plan, on_done: Callable[[], None]) -> None:
        self._plan = plan
        self._on_done = on_done
        self._chance = random.Random(plan.seed)  # noqa: S311 - a repeatable plan, not a secret
        self.tally = Tally()

    async def run(self) -> Tally:
        """Send every buyer at its time and wait for the last answer."""
        connector = aiohttp.TCPConnector(limit=_CONNECTIONS, keepalive_timeout=30)
        async with aiohttp.ClientSession(self._plan.url, connector=connector, timeout=_TIMEOUT) as session:
            self._start = time.monotonic()
            running: set[asyncio.Task[None]] = set()
            for number, buyer in enumerate(self._plan.buyers):
                due = self._start + number / self._plan.rate
                wait = due - time.monotonic()
                if wait > 0:
                    await asyncio.sleep(wait)
                else:
                    self.tally.lag_ms = max(self.tally.lag_ms, -1000 * wait)
                task = asyncio.create_task(self._buy(session, number, buyer))
                running.add(task)
                task.add_done_callback(running.discard)
            await asyncio.gather(*running)
        return self.tally

    def _second(self) -> int:
        return int(time.monotonic() - self._start)

    async def _buy(self, session: aiohttp.ClientSession, number: int, buyer: str | Password) -> None:
        arrival = self._second()
        self.tally.offered[arrival] += 1
        jwt = await self.tally.sign_ins.sign_in(session, buyer) if isinstance(buyer, Password) else buyer
        if jwt is None:
            self.tally.shed["not_signed_in"][self._second()] += 1
            self._on_done()
            return
        headers = {"Authorization": f"Bearer {jwt}"}
        path = f"/api/v1/sales/{self._plan.slug}/items/{self._plan.sku}/purchase-tokens/"
        status, answer, fleet = await self._send(session, path, None, headers)
        if status == 201:
            body: dict[str, Any] = {
                "token": answer["token"],
                "sku": self._plan.sku,
                "quantity": 1,
                "source": "rehearsal",
                "seq": f"{self._plan.slug}-{number}",
            }
            method = _method(self._chance)
            if method:
                body["payment_method"] = method
            status, answer, fleet = await self._send(session, "/api/v1/orders/", body, headers)
        of_fleet = self.tally.fleets[fleet]
        of_fleet.offered[arrival] += 1
        if status == 202:
            of_fleet.admitted[self._second()] += 1
            self.tally.admitted[self._second()] += 1
            self.tally.orders.append(answer["id"])
        else:
            of_fleet.limited[self._second()] += answer.get("code") == "rate_limited"
            self.tally.shed[answer.get("code", str(status))][self._second()] += 1
        self._on_done()

    async def _send(
        self, session: aiohttp.ClientSession, path: str, body: dict[str, Any] | None, headers: dict[str, str]
    ) -> tuple[int, dict[str, Any], str]:
        """Status, body and fleet of one request; a lost answer or a 503 is asked again with the same seq, which is safe."""
        fleet = "gateway"  # who refused it, unless a fleet says that it answered
        for attempt in range(_ATTEMPTS):
            began = time.monotonic()
            try:
                async with session.post(path, json=body or {}, headers=headers) as response:
                    self.tally.latencies_ms.append(1000 * (time.monotonic() - began))
                    answer = await response.json(content_type=None)
                    fleet = response.headers.get("X-Fleet", "gateway")
                    if response.status != 503:
                        if response.status >= 500:
                            self.tally.server_errors[f"{response.status} {path}"] += 1
                        return response.status, answer, fleet
                    if answer.get("code") != "busy":
                        self.tally.server_errors["503"] += 1
            except (TimeoutError, aiohttp.ClientError, ValueError):
                answer = {"code": "no_answer"}
            await asyncio.sleep(0.2 * 2**attempt * (0.5 + self._chance.random()))
        return 0, answer, fleet
