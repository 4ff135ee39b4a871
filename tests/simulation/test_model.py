"""Thousands of seeds on the model: no promise is broken, whatever dies, is lost, comes twice or too late."""

import pytest

from tests.simulation.scheduler import FOCUS, model_run, plan_of, what_breaks
from tests.simulation.shrink import shrink

_SEEDS = 4_000


def trace_of(plan):
    lines = []
    what_breaks(model_run(plan, lines.append))
    return "\n".join(lines)


@pytest.mark.parametrize(("focus", "seeds"), [("", _SEEDS), *((focus, _SEEDS // 10) for focus in FOCUS)])
def test_no_seed_breaks_a_promise(focus, seeds):
    for seed in range(seeds):
        plan = plan_of(seed, focus=focus)
        broken = what_breaks(model_run(plan))
        if broken:
            short = trace_of(shrink(plan, broken.name, model_run))
            pytest.fail(f"{broken}\npython -m tests.simulation --seed {seed} --focus '{focus}'\n{short}", pytrace=False)


def test_a_seed_gives_the_same_run_for_ever():
    runs = {trace_of(plan_of(7)) for _ in range(2)}

    assert len(runs) == 1
    assert len(runs.pop().splitlines()) > 100
