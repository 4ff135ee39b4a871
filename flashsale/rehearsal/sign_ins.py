"""The buyers of a rehearsal who sign in with name and password before they buy, as many do when a sale opens."""

import asyncio
import secrets
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from flashsale.edge import customers

_PATH = "/api/v1/auth/token/"
_PATIENCE_S = 60.0  # then a person has gone


@dataclass(frozen=True, slots=True)
class Password:
    """What somebody signs in with."""

    username: str
    password: str


@dataclass(slots=True)
class SignIns:
    """What came of them: milliseconds from the first try to the tokens, and how often each refusal was told."""

    took_ms: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    given_up: int = 0

    async def sign_in(self, session: aiohttp.ClientSession, known: Password) -> str | None:
        """An access token; None when none was to be had within a person's patience. A refusal is tried again as it asks."""
        began = time.monotonic()
        body = {"username": known.username, "password": known.password}
        while time.monotonic() - began < _PATIENCE_S:
            wait_s = 2.0
            try:
                async with session.post(_PATH, json=body) as response:
                    answer = await response.json(content_type=None)
                    if response.status == 200:
                        self.took_ms.append(1000 * (time.monotonic() - began))
                        return str(answer["access"])
                    self.refused[answer.get("code", str(response.status))] += 1
                    wait_s = float(response.headers.get("Retry-After", wait_s))
            except (TimeoutError, aiohttp.ClientError, ValueError):
                self.refused["no_answer"] += 1
            await asyncio.sleep(wait_s)
        self.given_up += 1
        return None

    def summary(self) -> dict[str, Any]:
        """For the report."""
        taken = sorted(self.took_ms) or [0.0]
        return {
            "signed in": len(self.took_ms),
            "gave up": self.given_up,
            "refusals": dict(self.refused),
            "latency ms p50 / p99": f"{taken[len(taken) // 2]:.0f} / {taken[int(len(taken) * 0.99)]:.0f}",
        }


def passwords(count: int) -> list[Password]:
    """So many customers with a password, new for each rehearsal; one hash for all, made as every password's is."""
    password = secrets.token_urlsafe(16)
    names = [f"rehearsal-signs-in-{number}" for number in range(count)]
    return [Password(name, password) for name in customers.with_password(names, password)]
