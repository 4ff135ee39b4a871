"""Moves the real tier's time: what was stamped is put into the past, nobody waits.

Real seconds that pass while a run is played would be time that the model does not know of. ``hold`` gives them back.
"""

import time

from django.db import connection

from flashsale.core.redis_client import gate_client
from inventory.admission import keys

_GROUP = "ledger"
# A stamp may be off by this much. Every span that the scheduler lets pass is further than that from every deadline:
# it is a multiple of 4.5 s, and no deadline is a multiple of 9 s.
_MOST_REAL_S = 0.2


def _stamp(column: str) -> str:
    return f"{column} = least({column} - make_interval(secs => %(by)s), now())"


def _deadline(column: str) -> str:
    """What is due stays due, also when real time is given back."""
    later = f"{column} - make_interval(secs => %(by)s)"
    return f"{column} = CASE WHEN %(by)s < 0 AND {column} <= now() THEN {column} ELSE {later} END"


_SHIFT = f"""
WITH mine AS (
    UPDATE orders_order SET {_deadline("expires_at")}, {_stamp("updated_at")} WHERE item_id = %(item)s RETURNING id
), intake AS (
    UPDATE orders_intake SET {_stamp("created_at")} WHERE item_id = %(item)s
), paying AS (
    UPDATE payments_payment SET {_deadline("next_attempt_at")} WHERE order_id IN (SELECT id FROM mine)
    RETURNING id, idempotency_key
), refunds AS (
    UPDATE payments_refund SET {_deadline("next_attempt_at")} WHERE payment_id IN (SELECT id FROM paying)
)
UPDATE payments_sandboxcharge SET {_deadline("decided_at")}
WHERE idempotency_key IN (SELECT idempotency_key FROM paying)
"""


class RealClock:
    """The time of one item's rows and keys."""

    def __init__(self, item: int) -> None:
        self.item = item
        self.held_at = time.monotonic()

    def hold(self) -> None:
        """Take back the real time that has passed, before anybody can see it."""
        passed = time.monotonic() - self.held_at
        if passed > _MOST_REAL_S:
            self._shift(-passed)
            self.held_at += passed

    def advance(self, seconds: float) -> None:
        self._shift(seconds)

    def _shift(self, seconds: float) -> None:
        with connection.cursor() as cursor:
            cursor.execute(_SHIFT, {"by": seconds, "item": self.item})
        client, milliseconds = gate_client(), round(seconds * 1000)
        for name in client.scan_iter(f"fs:*{self.item}}}*"):
            left = client.pttl(name)
            if left > 0:
                client.pexpire(name, max(0, left - milliseconds))
        for name in client.scan_iter(f"fs:*{self.item}}}:tokens:*"):
            for token, pinned in client.hgetall(name).items():
                expiry, _, terms = str(pinned).partition(" ")
                client.hset(name, token, f"{int(expiry) - milliseconds * 1000} {terms}")
        awake = client.hget(keys.meta(self.item), "awake_until")
        if awake:
            client.hset(keys.meta(self.item), "awake_until", int(awake) - milliseconds * 1000)
        self._age_claims(milliseconds)

    def _age_claims(self, milliseconds: int) -> None:
        client, stream = gate_client(), keys.admitted(self.item)
        groups = client.xinfo_groups(stream) if client.exists(stream) else []
        for claim in client.xpending_range(stream, _GROUP, "-", "+", 1000) if groups else []:
            idle = max(0, claim["time_since_delivered"] + milliseconds)
            client.xclaim(stream, _GROUP, claim["consumer"], 0, [claim["message_id"]], idle=idle, justid=True)
