"""Buyers of a rehearsal who sign in with name and password before they buy."""

import secrets
from typing import Any, NamedTuple

from flashsale.loadtest import customers


class Password(NamedTuple):
    """Name and password for a sign-in."""

    username: str
    password: str


def passwords(count: int) -> list[Password]:
    """Create this many customers with a new password for each rehearsal. All share one regular password hash."""
    password = secrets.token_urlsafe(16)
    names = [f"rehearsal-signs-in-{number}" for number in range(count)]
    return [Password(name, password) for name in customers.with_password(names, password)]


def summary(took_ms: list[float], refused: dict[str, int], gave_up: int) -> dict[str, Any]:
    """Summary of the sign-ins, for the report."""
    taken = sorted(took_ms) or [0.0]
    return {
        "signed in": len(took_ms),
        "gave up": gave_up,
        "refusals": refused,
        "latency ms p50 / p99": f"{taken[len(taken) // 2]:.0f} / {taken[int(len(taken) * 0.99)]:.0f}",
    }
