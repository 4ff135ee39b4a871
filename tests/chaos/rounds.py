"""One round: a sale under faults, everything healed, a bounded wait for rest, and the verdict on all of it."""

import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from tests.chaos import settled, shop, staff
from tests.chaos.clients import Crowd
from tests.chaos.cluster import Cluster
from tests.chaos.history import History
from tests.chaos.nemesis import Nemesis
from tests.chaos.plan import Plan

LIVENESS_S = 30.0
_REST_FOR_S = 1.0  # what nobody has touched for this long is at rest


@dataclass(frozen=True, slots=True)
class Round:
    """``outcome``: passed, failed or unknown; ``settled_s``, ``served_s``: from the last heal, None when not in time.

    ``lost``: orders that went with the gate's disk.
    """

    plan: Plan
    history: History
    outcome: str
    summary: str
    settled_s: float | None
    served_s: float | None
    lost: int

    @property
    def acknowledged(self) -> int:
        """Orders that got a 202."""
        return len({operation.order_id for operation in self.history.of("order") if operation.result == "ok"})

    def as_json(self) -> dict[str, object]:
        """For the table of results."""
        return {
            "seed": self.plan.seed,
            "profile": self.plan.profile,
            "seconds": self.plan.seconds,
            "faults": dict(sorted(Counter(fault.kind for fault in self.plan.faults).items())),
            "operations": len(self.history.operations),
            "unknown": sum(operation.result == "unknown" for operation in self.history.operations),
            "acknowledged": self.acknowledged,
            "lost": self.lost,
            "outcome": self.outcome,
            "settled_s": None if self.settled_s is None else round(self.settled_s, 1),
            "served_s": None if self.served_s is None else round(self.served_s, 1),
        }


def play(cluster: Cluster, plan: Plan, folder: Path, *, slug: str, rate: float, open_s: float) -> Round:
    """
    Args:
        folder: where the history, the plan and the log of the nemesis are kept.
        rate: arrivals per second.
        open_s: how long the sale stays open; longer than the faults and the wait.
    """
    from tests.chaos.books import collect
    from tests.chaos.checker import check
    from tests.chaos.evidence import LOST

    (folder / "plan.txt").write_text(f"{plan}\n", encoding="utf-8")
    visits = max(1, int(plan.seconds * rate))
    stage = shop.open_sale(slug, seconds=open_s, customers=max(8, visits // 2), scale=visits / 600)
    gone = [customer.id for customer in stage.gone]
    crowd = Crowd(cluster.gateway_url, stage, seed=plan.seed, rate=rate, seconds=plan.seconds)
    cluster.network.run(crowd.__aenter__()).result()
    selling = cluster.network.run(crowd.run())
    try:
        nemesis = Nemesis(cluster, folder / "nemesis.log")
        nemesis.run(plan)
        healed_at = time.time()
        served = cluster.network.run(crowd.probe(LIVENESS_S))
        settled_s, left = _await_rest(slug, healed_at, selling)
        served_s = served.result(2 * LIVENESS_S)
        selling.result(2 * LIVENESS_S)
        if settled_s is not None:
            left = _reject_half(slug, gone, nemesis.poison)
        unanswered = cluster.network.run(crowd.ask_all(LIVENESS_S)).result(20 * LIVENESS_S)
    finally:
        cluster.network.run(crowd.__aexit__()).result()
        crowd.history.save(folder / "history.jsonl")
    settled_at = None if settled_s is None else healed_at + settled_s
    books = collect([slug], healed_at=healed_at, settled_at=settled_at, losses=nemesis.losses, gone=gone, poison=nemesis.poison)
    verdict = check(crowd.history, books)
    late = [] if settled_s is not None and not left else [f"not at rest after {LIVENESS_S:.0f} s: {left}"]
    late += [] if served_s is not None else [f"nobody could buy within {LIVENESS_S:.0f} s of the last heal"]
    late += [f"the customer of order {order} was not told of it in time" for order in unanswered]
    outcome = "failed" if late and verdict.outcome != "unknown" else verdict.outcome
    summary = "\n".join([*late, verdict.summary()])
    staff.reject_poison(gone, nemesis.poison)
    lost = sum(order.reason == LOST for order in (*books.orders, *books.intake))
    (folder / "verdict.txt").write_text(f"{outcome}\n{summary}\n", encoding="utf-8")
    return Round(plan, crowd.history, outcome, summary, settled_s, served_s, lost)


def _reject_half(slug: str, gone: Sequence[int], spoilt: Sequence[str]) -> dict[str, int]:
    """Staff reject every second order that the ledger cannot take; what the gate was then not told of in time."""
    staff.reject_poison(gone, spoilt, every=2)
    deadline = time.monotonic() + LIVENESS_S
    while (left := settled.on_its_way(slug)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left


def _await_rest(slug: str, healed_at: float, selling: "Future[None]") -> tuple[float | None, dict[str, int]]:
    """Seconds from the last heal until the sale came to rest and stayed there; None, and what was left, if not in time."""
    rested_at: float | None = None
    left: dict[str, int] = {}
    while time.time() - healed_at < LIVENESS_S:
        left = settled.on_its_way(slug) or ({} if selling.done() else {"clients": 1})
        if left:
            rested_at = None
        elif rested_at is None:
            rested_at = time.time()
        elif time.time() - rested_at > _REST_FOR_S:
            return rested_at - healed_at, {}
        time.sleep(0.2)
    return None, left
