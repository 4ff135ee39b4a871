"""The pipeline alone: orders that are admitted already, through real broker, workers and PostgreSQL with fsync.

Ours in batches, then the same steps as one Celery chain per order, in one run on the same servers. ``make bench``.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "flashsale.settings.dev")
django.setup()

import psutil
from django.contrib.auth import get_user_model
from django.core.management import call_command
from rich.console import Console

from flashsale.core.clock import now
from flashsale.core.ids import new_order_id
from flashsale.core.redis_client import gate_client
from inventory import services
from inventory.admission import gate, keys
from orders.models import Order
from tasks.repair import gate_sync
from tasks.repair.audit import audit
from tasks.steps import pipeline

ROOT = Path(__file__).parent.parent.parent
_WORKERS = (("intake", "dispatch,inventory", 1), ("settle", "orders,payments,cancellations", 2))
_FOR_EVER = 9_999_999_999_999_999
_console = Console()


def make_item(slug, units):
    sale = services.create_sale(
        slug=slug,
        name=slug,
        opens_at=now() - timedelta(minutes=1),
        closes_at=now() + timedelta(days=1),
        payment_window=timedelta(minutes=10),
    )
    item = services.add_item(sale=sale, sku="unit", name="unit", units=units, price=Decimal("10.00"), per_customer=units)
    gate_sync.refresh_gates([item.pk])
    # Nobody is woken before the clock runs.
    gate_client().hset(keys.meta(item.pk), "awake_until", _FOR_EVER)
    gate_client().hset(keys.meta(item.pk), "backlog", units + 1)
    return item


def admit(item, customers, count):
    for number in range(count):
        customer = customers[number % len(customers)]
        gate.admit(
            item.pk,
            customer=customer,
            sku="unit",
            units=1,
            token=gate.issue_token(item.pk, customer).token,
            order_id=new_order_id(item.pk),
            source="bench",
            seq=f"{item.pk}-{number}",
            digest="00",
            method="pm_ok",
        )


def paid(item):
    return Order.objects.filter(item=item, status="paid").count()


def wait_until_paid(item, count, deadline_s):
    deadline = time.monotonic() + deadline_s
    while paid(item) < count:
        if time.monotonic() > deadline:
            raise SystemExit(f"only {paid(item)} of {count} orders settled within {deadline_s} s")
        time.sleep(0.1)


def in_batches(item, count):
    began = time.monotonic()
    pipeline.wake(item.pk)
    wait_until_paid(item, count, 300)
    return count / (time.monotonic() - began)


def per_order(item, count):
    began = time.monotonic()
    while True:
        claim = gate.claim(item.pk, consumer="bench", limit=500, in_flight=_FOR_EVER)
        if not claim.entries:
            break
        for entry in claim.entries:
            pipeline.start_chain(item.pk, [entry])
    wait_until_paid(item, count, 300)
    return count / (time.monotonic() - began)


def start_workers():
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "flashsale",
        "worker",
        "--without-gossip",
        "--without-mingle",
        "-l",
        "ERROR",
    ]
    return [
        subprocess.Popen([*command, "-n", f"{name}@%h", "-Q", queues, "-c", str(size)], cwd=ROOT, stdout=subprocess.DEVNULL)
        for name, queues, size in _WORKERS
    ]


def largest_worker_mb(workers):
    family = [process for worker in workers for process in (psutil.Process(worker.pid), *psutil.Process(worker.pid).children())]
    return max(process.memory_info().rss for process in family) / 1e6


def settled(item):
    while audit(item.sale.slug).in_flight:
        time.sleep(0.1)
    report = audit(item.sale.slug)
    if not report.is_clean:
        raise SystemExit(f"the audit found: {[check for check in report.checks if check.breaches]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=20_000)
    parser.add_argument("--single", type=int, default=1_500, help="orders of the run with a chain per order")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=ROOT / "var" / "bench-pipeline.json")
    options = parser.parse_args()
    call_command("migrate", verbosity=0)
    users = get_user_model().objects
    users.bulk_create([get_user_model()(username=f"bench-{number}", password="!") for number in range(5_000)])
    customers = list(users.values_list("pk", flat=True))
    workers = start_workers()
    try:
        result = measure(options, customers, workers)
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait(30)
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2))
    _console.print_json(json.dumps(result))


def measure(options, customers, workers):
    batched, single = [], []
    for number in range(options.rounds):
        for name, rates, run, count in (
            ("batches", batched, in_batches, options.orders),
            ("single", single, per_order, options.single),
        ):
            item = make_item(f"bench-{name}-{number}", count)
            admit(item, customers, count)
            rates.append(run(item, count))
            settled(item)
            _console.print(f"{name}: {rates[-1]:.0f} orders/s")
    return {
        "commit": subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=ROOT, check=False
        ).stdout.strip(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "orders_per_round": {"batches": options.orders, "single": options.single},
        "batches_per_s": [round(rate) for rate in batched],
        "single_per_s": [round(rate) for rate in single],
        "ratio_of_medians": round(sorted(batched)[len(batched) // 2] / sorted(single)[len(single) // 2], 1),
        "largest_worker_mb": round(largest_worker_mb(workers)),
    }


if __name__ == "__main__":
    main()
