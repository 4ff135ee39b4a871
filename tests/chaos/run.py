"""``python -m tests.chaos.run --seed N --minutes M``: a sale under faults, and whether every promise held.

Exit 0 when it passed, 1 when it failed and when nothing can be said; then everything there is to look at is kept.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from tests.chaos import plan as plans
from tests.chaos.cluster import Cluster

RESULTS = Path(__file__).parent.parent.parent / "docs" / "results" / "chaos.jsonl"
_RATE = 25.0


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code."""
    options = _options(arguments)
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    seconds = 60 * options.minutes
    print(f"chaos: seed {seed}, {seconds:.0f} s, profile {options.profile}", flush=True)
    if options.plan:
        print(plans.make(seed, seconds, options.profile))
        return 0
    folder = Path(tempfile.mkdtemp(prefix=f"flashsale-chaos-{seed}-"))
    result = _run(folder, seed, seconds, options)
    print(json.dumps(result), flush=True)
    if options.record:
        record(result)
    if result["outcome"] == "passed" and not options.keep:
        shutil.rmtree(folder)
        return 0
    print(f"chaos: logs, history, plan and verdict are in {folder}")
    return 0 if result["outcome"] == "passed" else 1


def _options(arguments: Sequence[str]) -> Namespace:
    parser = ArgumentParser(prog="python -m tests.chaos.run", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="the same seed makes the same plan; random when left out")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--profile", choices=sorted(plans.PROFILES), default="mixed")
    parser.add_argument("--rate", type=float, default=_RATE, help="arrivals per second")
    parser.add_argument("--plan", action="store_true", help="print the plan and do nothing")
    parser.add_argument("--record", action="store_true", help=f"append the result to {RESULTS.name}")
    parser.add_argument("--keep", action="store_true", help="keep the folder when it passed as well")
    return parser.parse_args(arguments)


def _run(folder: Path, seed: int, seconds: float, options: Namespace) -> dict[str, object]:
    from tests.chaos import rounds

    has_newer = options.profile in plans.WITH_NEWER
    with Cluster(folder, disk_mb=96 + int(seconds), has_newer=has_newer) as cluster:
        use_django(cluster)
        plan = plans.make(seed, seconds, options.profile, without=cluster.missing)
        if "fill" in cluster.missing:
            print("chaos: mounting is not permitted here, so no disk is filled", flush=True)
        print(plan, flush=True)
        done = rounds.play(cluster, plan, folder, slug=f"chaos-{seed}", rate=options.rate, open_s=seconds + 600)
    print(done.summary, flush=True)
    return done.as_json() | {"commit": _commit()}


def use_django(cluster: Cluster, settings: dict[str, str] | None = None) -> None:
    """Django in this process, on the servers themselves, with the settings of the processes."""
    import django

    os.environ |= cluster.addresses | {"DJANGO_SETTINGS_MODULE": "flashsale.settings.dev", "FLASHSALE_VAR": str(cluster.folder)}
    os.environ |= settings or {}
    os.environ["LOG_LEVEL"] = "WARNING"
    django.setup()


def record(result: dict[str, object]) -> None:
    """One line more in the results."""
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(f"{json.dumps(result)}\n")


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
