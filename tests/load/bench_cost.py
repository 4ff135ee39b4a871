"""What an order costs each process behind the gate, in CPU, at steady rates and in full batches. ``make bench-cost``.

No HTTP: a paced producer admits orders by the gate's own script, and its own CPU is not counted. The workers are those of the
Procfile. CPU time, not wall clock: other work on the machine changes little.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "flashsale.settings.dev")
django.setup()

import psutil
import redis
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from rich.console import Console
from rich.table import Table

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
WORKERS = {"intake": ("dispatch,inventory", 1), "settle": ("orders,cancellations", 1), "payments": ("payments", 2)}
PRODUCERS = 16
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
    gate_client().hset(keys.meta(item.pk), "backlog", units + 1)
    return item


def requests_for(item, customers, count):
    """What ``gate.admit`` is called with, purchase tokens included."""
    return [
        {
            "customer": (customer := customers[number % len(customers)]),
            "sku": "unit",
            "units": 1,
            "token": gate.issue_token(item.pk, customer).token,
            "order_id": new_order_id(item.pk),
            "source": "bench",
            "seq": f"{item.pk}-{number}",
            "digest": "00",
            "method": "pm_ok",
        }
        for number in range(count)
    ]


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
    return {
        name: subprocess.Popen(
            [*command, "-n", f"{name}@%h", "-Q", queues, "-c", str(size)], cwd=ROOT, stdout=subprocess.DEVNULL
        )
        for name, (queues, size) in WORKERS.items()
    }


def _used_s(process):
    used = process.cpu_times()
    return used.user + used.system


class Meter:
    """CPU seconds of the workers, of PostgreSQL's backends and of both Valkeys."""

    def __init__(self, workers):
        self._workers = workers
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            self._own = cursor.fetchone()[0]
        self._postmaster = psutil.Process(self._own).parent()
        urls = {"gate": settings.REDIS_URL, "broker": settings.CELERY_BROKER_URL}
        self._valkeys = {
            name: psutil.Process(redis.Redis.from_url(url).info("server")["process_id"]) for name, url in urls.items()
        }

    def read(self):
        used = defaultdict(float)
        for name, worker in self._workers.items():
            parent = psutil.Process(worker.pid)
            used[f"{name} parent"] += _used_s(parent)
            for child in parent.children():
                used[f"{name} steps"] += _used_s(child)
        for backend in self._postmaster.children():
            if backend.pid != self._own:
                used["postgresql"] += _used_s(backend)
        for name, process in self._valkeys.items():
            used[name] += _used_s(process)
        return used


def sent_messages():
    stats = redis.Redis.from_url(settings.CELERY_BROKER_URL).info("commandstats")
    return stats.get("cmdstat_lpush", {}).get("calls", 0)


def commits():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
        return cursor.fetchone()[0]


def wait_until_paid(item, count, deadline_s=300):
    deadline = time.monotonic() + deadline_s
    while (found := Order.objects.filter(item=item, status="paid").count()) < count:
        if time.monotonic() > deadline:
            raise SystemExit(f"only {found} of {count} orders were paid within {deadline_s} s")
        time.sleep(0.2)


def paced(item, wanted, rate):
    """Admit at this rate, from several threads that share the gate's fsyncs as requests do; how late the last one was, in s."""
    began = time.monotonic()

    def admit(first):
        wait = 0.0
        for number in range(first, len(wanted), PRODUCERS):
            wait = began + number / rate - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            if gate.admit(item.pk, **wanted[number]).wake:
                pipeline.wake(item.pk)
        return max(0.0, -wait)

    with ThreadPoolExecutor(PRODUCERS) as threads:
        return max(threads.map(admit, range(PRODUCERS)))


def backlog(item, wanted):
    gate_client().hset(keys.meta(item.pk), "awake_until", _FOR_EVER)
    for request in wanted:
        gate.admit(item.pk, **request)


def latencies_ms(item):
    """From admission to the paid row, by Redis's clock and PostgreSQL's: on one machine they are the same."""
    rows = Order.objects.filter(item=item, status="paid").values_list("admitted_at", "updated_at")
    return sorted((paid - admitted).total_seconds() * 1000 for admitted, paid in rows)


def measure(name, rate, count, meter, customers):
    item = make_item(f"cost-{name}-{time.time_ns()}", count)
    wanted = requests_for(item, customers, count)
    if not rate:
        backlog(item, wanted)
    messages, transactions, before, began = sent_messages(), commits(), meter.read(), time.monotonic()
    late = 0.0
    if rate:
        late = paced(item, wanted, rate)
    else:
        pipeline.wake(item.pk)
    wait_until_paid(item, count)
    took = time.monotonic() - began
    after = meter.read()
    transactions = commits() - transactions
    batches = Order.objects.filter(item=item).values("created_at").distinct().count()
    waits = latencies_ms(item)
    used = {part: (after[part] - before[part]) / count * 1000 for part in after}
    return {
        "rate": rate,
        "orders": count,
        "batches": batches,
        "messages_per_batch": round((sent_messages() - messages) / batches, 2),
        "commits_per_batch": round(transactions / batches, 2),
        "late_s": round(late, 3),
        "took_s": round(took, 2),
        "paid_p50_ms": round(waits[len(waits) // 2], 1),
        "paid_p95_ms": round(waits[int(len(waits) * 0.95)], 1),
        "cpu_ms_per_order": {part: round(value, 4) for part, value in used.items()},
        "total_ms": round(sum(used.values()), 4),
    }


def show(results):
    table = Table(title="CPU per order, ms (gate: admission included)")
    names = list(results)
    for head in ("", *names):
        table.add_column(head, justify="left" if not head else "right")
    parts = list(next(iter(results.values()))["cpu_ms_per_order"])
    for part in parts:
        table.add_row(part, *(f"{results[name]['cpu_ms_per_order'].get(part, 0):.3f}" for name in names))
    for key in ("total_ms", "batches", "messages_per_batch", "commits_per_batch", "late_s", "paid_p50_ms", "paid_p95_ms"):
        table.add_row(key, *(str(results[name][key]) for name in names))
    _console.print(table)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", type=int, nargs="*", default=[40, 400, 1500], help="orders/s")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--backlog", type=int, default=10_000, help="orders of the run in full batches; 0 for none")
    parser.add_argument("--rounds", type=int, default=1, help="the median of them by total is shown")
    parser.add_argument("--json", type=Path, default=ROOT / "var" / "bench-cost.json")
    options = parser.parse_args()
    call_command("migrate", verbosity=0)
    users = get_user_model().objects
    users.bulk_create([get_user_model()(username=f"cost-{number}", password="!") for number in range(5_000)])
    customers = list(users.values_list("pk", flat=True))
    workers = start_workers()
    try:
        meter = Meter(workers)
        measure("warm", 400, 400, meter, customers)
        plan = [(f"{rate}/s", rate, max(200, int(rate * options.seconds))) for rate in options.rates]
        plan += [("backlog", 0, options.backlog)] if options.backlog else []
        rounds = [
            {name: measure(name.replace("/", "-"), rate, count, meter, customers) for name, rate, count in plan}
            for _ in range(options.rounds)
        ]
        results = {
            name: sorted((each[name] for each in rounds), key=lambda one: one["total_ms"])[len(rounds) // 2]
            for name, _, _ in plan
        }
    finally:
        for worker in workers.values():
            worker.terminate()
        for worker in workers.values():
            worker.wait(30)
    options.json.parent.mkdir(exist_ok=True)
    options.json.write_text(json.dumps(results, indent=2))
    show(results)
    if breaches := [check for check in audit().checks if check.breaches]:
        raise SystemExit(f"the audit found: {breaches}")


if __name__ == "__main__":
    main()
