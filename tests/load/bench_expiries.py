"""10,000 unpaid orders with one deadline: how long after it each unit can be admitted again. ``make bench-expiries``.

The orders come the whole way, through gate, broker, workers and ledger; then their deadline is set to one moment and one
delayed message per 500 is sent for it, as the pipeline does. Real workers, beat and sweeper; the gate's stock is read every
few milliseconds, and a unit counts as back when it is there to be admitted. One item, and then the same over many.
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

from django.contrib.auth import get_user_model
from django.core.management import call_command

from flashsale.core.clock import now
from inventory import services
from inventory.admission import gate
from orders import order_ids
from orders.models import Order
from tasks.repair import gate_sync
from tasks.repair.audit import audit
from tasks.steps import cancel_unpaid, pipeline

ROOT = Path(__file__).parent.parent.parent
_LEAD_S = 6
_CELERY = ("-m", "celery", "-A", "flashsale")
_QUIET = ("--without-gossip", "--without-mingle", "-l", "ERROR")
_PROCESSES = (
    (*_CELERY, "worker", "-n", "intake@%h", "-Q", "dispatch,inventory", "-c", "1", *_QUIET),
    (*_CELERY, "worker", "-n", "settle@%h", "-Q", "orders,payments,cancellations", "-c", "2", *_QUIET),
    (*_CELERY, "beat", "--schedule", f"{os.environ.get('FLASHSALE_VAR', 'var')}/beat-schedule", "--pidfile=", "-l", "ERROR"),
    ("manage.py", "sweep"),
)


def make_items(name, count, units):
    sale = services.create_sale(
        slug=name,
        name=name,
        opens_at=now() - timedelta(minutes=1),
        closes_at=now() + timedelta(days=1),
        payment_window=timedelta(hours=1),
    )
    items = [
        services.add_item(sale=sale, sku=f"{name}-{n}", name=name, units=units, price=Decimal(10), per_customer=units).pk
        for n in range(count)
    ]
    gate_sync.refresh_gates(items)
    return items


def admit(item, sku, customers, count):
    for number in range(count):
        customer = customers[number % len(customers)]
        admission = gate.admit(
            item,
            customer=customer,
            sku=sku,
            units=1,
            token=gate.issue_token(item, customer).token,
            order_id=order_ids.new(item, customer),
            source="bench",
            seq=f"{item}-{number}",
            digest="00",
            method="",
        )
        if admission.wake:
            pipeline.wake(item)


def until(condition, within_s, what):
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {within_s} s: {what}")
        time.sleep(0.1)


def share_a_deadline(items, pieces_of=500):
    due = now() + timedelta(seconds=_LEAD_S)
    orders = Order.objects.filter(item__in=items)
    orders.update(expires_at=due)
    ids = list(orders.order_by("id").values_list("pk", flat=True))
    for start in range(0, len(ids), pieces_of):
        cancel_unpaid.schedule([(pk, due) for pk in ids[start : start + pieces_of]])
    return due


def watch(items, due, count):
    """Seconds past the deadline, one for each unit."""
    late: list[float] = []
    while len(late) < count:
        back = sum(stock or 0 for stock in gate.stocks(items).values())
        past = (now() - due).total_seconds()
        late += [past] * (back - len(late))
        if past > 60:
            raise SystemExit(f"only {back} of {count} units came back within a minute")
        time.sleep(0.005)
    return late


def measure(name, items, options, customers):
    each = options.orders // items
    made = make_items(name, items, each)
    for number, item in enumerate(made):
        admit(item, f"{name}-{number}", customers, each)
    mine = Order.objects.filter(item__in=made, status="pending_payment")
    until(lambda: mine.count() == each * items, 300, "all orders wait for their payment")
    late = sorted(watch(made, share_a_deadline(made), each * items))
    until(lambda: not (report := audit(name)).in_flight and report.is_clean, 60, "a clean audit")
    points = {"p50": late[len(late) // 2], "p99": late[len(late) * 99 // 100], "max": late[-1], "first": late[0]}
    result = {"items": items, "orders": each * items} | {f"{point}_s": round(value, 3) for point, value in points.items()}
    print(name, result, flush=True)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=10_000)
    parser.add_argument("--items", type=int, default=20, help="of the run over many items")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "expiries.json")
    options = parser.parse_args()
    call_command("migrate", verbosity=0)
    users = get_user_model().objects
    users.bulk_create([get_user_model()(username=f"bench-{number}", password="!") for number in range(2_000)])
    customers = list(users.values_list("pk", flat=True))
    processes = [subprocess.Popen([sys.executable, *command], cwd=ROOT) for command in _PROCESSES]
    try:
        runs = [
            measure(f"expiries-{count}-{number}", count, options, customers)
            for number in range(options.rounds)
            for count in (1, options.items)
        ]
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(30)
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=ROOT, check=False)
    about = {
        "measures": "seconds from the common deadline of unpaid orders until each of their units can be admitted again",
        "commit": head.stdout.strip(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }
    options.out.write_text(json.dumps({"about": about, "runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
