"""The table shows what was recorded, the failures too."""

import json

from tests.chaos.table import document


def line(seed, outcome="passed", settled=4.5):
    return json.dumps(
        {
            "seed": seed,
            "profile": "mixed",
            "seconds": 30.0,
            "faults": {"kill": 2, "cut": 1},
            "operations": 100,
            "unknown": 3,
            "acknowledged": 40,
            "lost": 7,
            "outcome": outcome,
            "settled_s": settled,
            "served_s": 0.5,
            "commit": "abc1234",
        }
    )


def test_the_last_hundred_runs_are_shown_newest_first_with_failures_and_sums():
    text = document([line(seed) for seed in range(120)] + [line(120, "failed", None)])

    rows = [row for row in text.splitlines() if row.startswith("| ") and "seed" not in row]
    assert len(rows) == 100
    assert rows[0] == "| 120 | mixed | 30 | kill 2, cut | 100 | 3 | 40 | 7 | failed | over 30 | 0.5 | abc1234 |"
    assert rows[-1].startswith("| 21 |")
    assert "99 passed, 1 failed; 4,000 orders acknowledged, 10,000 operations, 300 faults (kill 200, cut 100)." in text
