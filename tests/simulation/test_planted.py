"""The simulation is tested: every planted bug is found, within a bounded number of seeds, and its run can be shrunk."""

from functools import partial

import pytest

from tests.simulation.planted import PLANTS
from tests.simulation.scheduler import model_run, plan_of, what_breaks
from tests.simulation.shrink import shrink

_MOST_SEEDS = 2_500
# Seeds about what the bug is about find it sooner.
_FOCUS = {
    "cancel_without_a_guard": "chain",
    "rebuild_reads_the_ledger_before_the_stream": "terms",
    "rebuild_copies_the_ledgers_stock": "terms",
    "rebuild_without_a_pause": "terms",
    "late_holder_is_not_fenced": "rebuilds",
    "orders_of_a_lost_gate_are_forgotten": "rebuilds",
    "limit_is_not_checked_after_a_loss": "chain",
    "a_rejected_order_gives_back_only_what_is_below_zero": "rebuilds",
    "withheld_units_are_put_back_behind_the_ledgers_back": "terms",
    "source_and_seq_are_not_unique": "rebuilds",
    "no_receipts": "chain",
}


def first_broken(plant, focus):
    for seed in range(_MOST_SEEDS):
        plan = plan_of(seed, focus=focus)
        broken = what_breaks(model_run(plan, plant=plant))
        if broken:
            return plan, broken
    return None


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_bug_is_found(name):
    assert first_broken(PLANTS[name], _FOCUS.get(name, "")), f"{name} is not found in {_MOST_SEEDS} seeds"


def test_a_broken_run_is_shrunk_to_a_short_one_that_breaks_the_same_promise():
    plant = PLANTS["release_keeps_the_hold"]
    plan, broken = first_broken(plant, "")

    short = shrink(plan, broken.name, partial(model_run, plant=plant))

    assert len(short.actions) < len(plan.actions) / 3
    assert what_breaks(model_run(short, plant=plant)).name == broken.name
