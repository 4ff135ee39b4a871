"""How PostgreSQL carries out each statement of the hot way and of the sweeps among 1,000,000 orders. ``make explain``.

Fails when one reads a large table whole, or takes longer than ``--most-ms``.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "flashsale.settings.dev")
os.environ.setdefault("DATABASE_PATIENCE_S", "600")  # the tables are filled by few statements
django.setup()

from django.core.management import call_command
from django.db import connection

from tests.load import plans

_HEAD = """# Statements among {orders:,} orders
`make explain`, commit {commit}, {when:%Y-%m-%d}, PostgreSQL {postgresql}, {cores} cores. {rows}.
{waiting:,} of them wait in the intake, which is a hundred times what a busy shop has. A batch is {batch} orders, a sweep 1,000.
The time is PostgreSQL's own, of the slowest statement of a call; in brackets, what it reads whole.

`audit`, `reconcile` and a gate's rebuild read all orders of an item by design, and the admin's counts all orders: they are not
in the table.

| call | statements | slowest (ms) | node on top of the slowest scan |
|---|---|---|---|
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=1_000_000)
    parser.add_argument("--most-ms", type=float, default=1_000.0)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--verbose", action="store_true", help="print every plan")
    options = parser.parse_args()
    call_command("migrate", "--no-input", "-v", "0")
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
    began = time.monotonic()
    shop = plans.fill(options.orders)
    sys.stderr.write(f"filled in {time.monotonic() - began:.0f} s\n")
    big = plans.big_tables()
    said = list(plans.statements(shop, analyze=True))
    text = _head(options, big) + "".join(_lines(said, big))
    sys.stdout.write(text)
    if options.verbose:
        for each in said:
            sys.stdout.write(f"\n{each.call}\n{each.sql[:2000]}\n{each.plan}\n")
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")
    bad = [each for each in said if each.scans(big) or each.ms > options.most_ms]
    for each in bad:
        sys.stderr.write(f"{each.call}: {each.ms:.0f} ms, reads {each.scans(big) or 'no table'} whole: {each.sql[:500]}\n")
    return 1 if bad else 0


def _head(options, big):
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        version = cursor.fetchone()[0].split()[0]
        cursor.execute(
            "SELECT relname, reltuples::bigint FROM pg_class WHERE relname = ANY(%s) AND relname !~ '^pg_' ORDER BY 2 DESC",
            [sorted(big)],
        )
        rows = ", ".join(f"{name} {count:,}" for name, count in cursor.fetchall())
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    return _HEAD.format(
        orders=options.orders,
        commit=commit,
        when=datetime.now(UTC),
        postgresql=version,
        cores=os.cpu_count(),
        machine=platform.machine(),
        rows=f"Rows: {rows}",
        waiting=options.orders // 2,
        batch=plans.BATCH,
    )


def _lines(said, big):
    for call in dict.fromkeys(each.call for each in said):
        mine = [each for each in said if each.call == call]
        slowest = max(mine, key=lambda each: each.ms)
        whole = sorted({name for each in mine for name in each.scans(big)})
        yield f"| {call} | {len(mine)} | {slowest.ms:.2f} | {slowest.top_scan}{f' ({whole})' if whole else ''} |\n"


if __name__ == "__main__":
    sys.exit(main())
