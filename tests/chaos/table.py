"""``python -m tests.chaos.table``: writes docs/results/chaos.md from the last 100 recorded runs."""

import json
import sys
from collections import Counter
from collections.abc import Iterable
from typing import Any

from tests.chaos.run import RESULTS

_LAST = 100
_HEAD = """# The last {count} chaos runs

Each line is one run of `make chaos SEED=n MINUTES=m` with `--record`: the real processes, real servers and real HTTP clients
under the faults that the seed plans, everything healed at the end, and all that clients saw compared with PostgreSQL, Redis
and the provider's books. *settled* is the time from the last heal until nothing was on its way any more, *served* until
somebody had bought and paid again; a run fails when either takes over 30 s. *lost* are orders that went with the gate's
disk, in the profile `disk-loss` alone.
Written by `python -m tests.chaos.table` from `chaos.jsonl`.

{outcomes}; {acknowledged} orders acknowledged, {operations} operations, {faults} faults ({kinds}).
Settled: median {settled:.1f} s, longest {longest:.1f} s.

| seed | profile | s | faults | operations | unknown | acknowledged | lost | outcome | settled s | served s | commit |
|---|---|---|---|---|---|---|---|---|---|---|---|
"""


def document(lines: Iterable[str]) -> str:
    """The table as Markdown, the newest run first."""
    runs = [json.loads(line) for line in lines if line.strip()][-_LAST:]
    kinds: Counter[str] = sum((Counter(run["faults"]) for run in runs), Counter())
    settled = sorted(run["settled_s"] for run in runs if run["settled_s"] is not None)
    head = _HEAD.format(
        count=len(runs),
        outcomes=", ".join(f"{count} {outcome}" for outcome, count in Counter(run["outcome"] for run in runs).most_common()),
        acknowledged=f"{sum(run['acknowledged'] for run in runs):,}",
        operations=f"{sum(run['operations'] for run in runs):,}",
        faults=f"{kinds.total():,}",
        kinds=", ".join(f"{kind} {count}" for kind, count in kinds.most_common()),
        settled=settled[len(settled) // 2] if settled else float("nan"),
        longest=settled[-1] if settled else float("nan"),
    )
    return head + "".join(_row(run) for run in reversed(runs))


def _row(run: dict[str, Any]) -> str:
    faults = ", ".join(f"{kind} {count}" if count > 1 else kind for kind, count in run["faults"].items())
    cells = (
        run["seed"],
        run["profile"],
        f"{run['seconds']:.0f}",
        faults or "none",
        run["operations"],
        run["unknown"],
        run["acknowledged"],
        run.get("lost", 0),
        run["outcome"],
        "over 30" if run["settled_s"] is None else run["settled_s"],
        "over 30" if run["served_s"] is None else run["served_s"],
        run["commit"],
    )
    return f"| {' | '.join(map(str, cells))} |\n"


if __name__ == "__main__":
    text = document(RESULTS.read_text(encoding="utf-8").splitlines())
    (RESULTS.parent / "chaos.md").write_text(text, encoding="utf-8")
    sys.exit()
