"""Play seeds: ``python -m tests.simulation --seed N`` prints one run, ``--seeds N`` plays many and prints what breaks."""

import argparse
import sys
import time
from functools import partial

from tests.simulation.planted import PLANTS
from tests.simulation.scheduler import FOCUS, model_run, plan_of, what_breaks
from tests.simulation.shrink import shrink


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="print the run of this seed")
    parser.add_argument("--seeds", type=int, default=5_000, help="how many seeds to play")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--shrink", action="store_true", help="print the shortest run that breaks the same promise")
    parser.add_argument("--focus", choices=("", *FOCUS), default="", help="what every seed is about")
    parser.add_argument("--plant", choices=PLANTS, help="put this bug into the model")
    parser.add_argument("--tier", choices=("model", "real"), default="model", help="real: beside the scripts and services")
    options = parser.parse_args()
    if options.tier == "real":
        from tests.simulation.real_servers import servers

        with servers():
            return play(options)
    return play(options)


def play(options) -> int:
    plant = PLANTS.get(options.plant)
    if options.tier == "real":
        from tests.simulation.paired import real_run as make_run
    else:
        make_run = partial(model_run, plant=plant)

    if options.seed is not None:
        return show(plan_of(options.seed, focus=options.focus), make_run, options.shrink)
    started, broken = time.monotonic(), 0
    for seed in range(options.first, options.first + options.seeds):
        if found := what_breaks(make_run(plan_of(seed, focus=options.focus))):
            broken += 1
            print(f"seed {seed}: {found}", flush=True)
    print(f"{options.seeds} seeds in {time.monotonic() - started:.1f} s, {broken} broken")
    return bool(broken)


def show(plan, make_run, short: bool) -> int:
    found = what_breaks(make_run(plan))
    if found and short:
        plan = shrink(plan, found.name, make_run)
    print(plan._replace(actions=len(plan.actions)))
    found = what_breaks(make_run(plan, print))
    print(f"BROKEN {found}" if found else "holds")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
