"""``python -m tests.chaos.soak --minutes M``: one stack, sale after sale under gentle faults, and what is left behind.

Each sale is checked like a chaos run; at the end memory, Redis keys and table bloat are judged as well. Sales, their receipts
and tokens live for a minute or two here instead of a day, so that they end and are forgotten within the run.
"""

import json
import secrets
import shutil
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from tests.chaos import bloat, plan, rounds, run
from tests.chaos.cluster import Cluster
from tests.chaos.memory import BOUND_MIB_PER_H, Sampler

_SELL_S = 90.0
_RATE = 20.0
_RETENTION_S = 60
_SETTINGS = {"GATE_RETENTION_S": str(_RETENTION_S), "RECEIPT_TTL_S": "120", "PURCHASE_TOKEN_TTL_S": "60"}
_FORGOTTEN_S = 2.5 * _RETENTION_S  # from a sale's end: its retention, and the pace of the task that forgets
_VACUUMED_S = 150.0
_SAMPLE_S = 5.0


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code."""
    parser = ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--profile", choices=sorted(plan.PROFILES), default="soak")
    options = parser.parse_args(arguments)
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    print(f"soak: seed {seed}, {options.minutes} minutes, profile {options.profile}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix=f"flashsale-soak-{seed}-"))
    wrong = _soak(folder, seed, 60 * options.minutes, options.profile)
    for line in wrong:
        print(f"soak: {line}")
    print(f"soak: {'failed' if wrong else 'passed'}")
    if not wrong:
        shutil.rmtree(folder)
        return 0
    print(f"soak: logs, histories, plans and verdicts are in {folder}")
    return 1


def _soak(folder: Path, seed: int, seconds: float, profile: str) -> list[str]:
    with Cluster(folder, disk_mb=256 + int(seconds / 2), settings=_SETTINGS) as cluster:
        run.use_django(cluster, _SETTINGS)
        with Sampler(cluster.everybody, _SAMPLE_S) as sampler:
            wrong = _sales(cluster, folder, seed, seconds, profile)
            wrong += _await_forgotten()
            wrong += _await_vacuumed()
        return wrong + _memory(sampler)


def _sales(cluster: Cluster, folder: Path, seed: int, seconds: float, profile: str) -> list[str]:
    wrong, number, until = [], 0, time.monotonic() + seconds
    while time.monotonic() < until:
        kept = folder / f"sale-{number}"
        kept.mkdir()
        made = plan.make(seed + number, _SELL_S, profile, without=cluster.missing)
        open_s = _SELL_S + 2 * rounds.LIVENESS_S
        done = rounds.play(cluster, made, kept, slug=f"soak-{number}", rate=_RATE, open_s=open_s)
        print(json.dumps(done.as_json()), flush=True)
        if done.outcome != "passed":
            wrong.append(f"sale {number} {done.outcome}: {done.summary}")
        number += 1
    return wrong


def _await_forgotten() -> list[str]:
    """Keys that outlive their sale: those that stay for good and those that would live on."""
    from flashsale.core.redis_client import gate_client

    deadline, left = time.monotonic() + 2 * rounds.LIVENESS_S + _FORGOTTEN_S, ["?"]
    while left and time.monotonic() < deadline:
        time.sleep(2)
        left = [key for key in gate_client().scan_iter("fs:*", count=1000) if not key.startswith("fs:workers:")]
    print(f"soak: {len(left)} keys of ended sales in the gate", flush=True)
    return [f"{len(left)} keys outlive their sales, {sorted(left)[:5]} among them"] if left else []


def _await_vacuumed() -> list[str]:
    deadline, breaches = time.monotonic() + _VACUUMED_S, ["?"]
    while breaches and time.monotonic() < deadline:
        time.sleep(2)
        breaches = [table.breach for table in bloat.tables() if table.breach]
    print(f"{'table':<28}{'live':>9}{'dead':>9}{'MiB':>10}{'vacuums':>9}")
    for table in bloat.tables()[:14]:
        print(table)
    return breaches


def _memory(sampler: Sampler) -> list[str]:
    growth = sampler.growth()
    print(f"{'process':<14}{'pid':>8}{'watched s':>11}{'MiB/h':>9}{'peak MiB':>10}   bound {BOUND_MIB_PER_H:.0f} MiB/h")
    for one in growth:
        print(f"{one.name:<14}{one.pid:>8}{one.seconds:>11.0f}{one.mib_per_h:>9.1f}{one.peak_mib:>10.1f}")
    if not growth:
        return ["no process lived long enough for its memory to be judged"]
    steep = [one for one in growth if not one.is_flat]
    return [f"{one.name} ({one.pid}) grows by {one.mib_per_h:.1f} MiB/h over {one.seconds:.0f} s" for one in steep]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
