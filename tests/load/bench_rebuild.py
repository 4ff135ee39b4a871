"""A Valkey that has lost everything: from the loss to the moment at which every item admits again. ``make bench-rebuild``.

1,000 items and 1,000,000 orders by default, put into PostgreSQL by SQL; one real ``manage.py sweep`` process finds the loss
and rebuilds, on servers of our own. Lost by FLUSHALL, and by SIGKILL with a start on an empty data folder.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from flashsale.stack.embedded import Embedded

ROOT = Path(__file__).parent.parent.parent
_CUSTOMERS = "INSERT INTO auth_user (username, password, email, first_name, last_name, is_superuser, is_staff, is_active, "
_CUSTOMERS += "date_joined) SELECT 'b' || n, '!', '', '', '', false, false, true, now() FROM generate_series(1, %s) n"
_PRODUCTS = "INSERT INTO inventory_product (sku, name, description, created_at) "
_PRODUCTS += "SELECT 'unit-' || n, 'unit', '', now() FROM generate_series(1, %s) n"
# A third of each item's units is left.
_ITEMS = """
INSERT INTO inventory_saleitem (sale_id, product_id, price, currency, per_customer, allocated, available, reserved, sold,
    gate_version)
SELECT %(sale)s, p.id, 10, 'EUR', 1, 3 * %(each)s / 2, 3 * %(each)s / 2 - %(each)s, %(held)s, %(each)s - %(held)s, 1
FROM inventory_product p
"""
_ORDERS = """
INSERT INTO orders_order (id, customer_id, item_id, sku, quantity, unit_price, currency, source, seq, digest, payment_method,
    status, reason, admitted_at, expires_at)
SELECT uuidv7(), (SELECT min(id) FROM auth_user) + (i.id * 7919 + n * 31) %% (SELECT count(*) FROM auth_user), i.id, 'unit', 1,
    10, 'EUR', 'bench', i.id || '-' || n, repeat('0', 64), 'pm_ok',
    CASE WHEN n <= %(held)s THEN 'pending_payment' ELSE 'paid' END, '', now(), now() + interval '1 day'
FROM generate_series(1, %(each)s) n, inventory_saleitem i
"""


def fill(options):
    from django.db import connection

    from flashsale.core.clock import now
    from inventory import services

    sale = services.create_sale(
        slug="bench",
        name="bench",
        opens_at=now() - timedelta(minutes=1),
        closes_at=now() + timedelta(days=1),
        payment_window=timedelta(days=1),
    )
    each = options.orders // options.items
    values = {"sale": sale.pk, "each": each, "held": each * options.unpaid // 100}
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        for statement, parameters in (
            (_CUSTOMERS, [100_000]),
            (_PRODUCTS, [options.items]),
            (_ITEMS, values),
            (_ORDERS, values),
            ("VACUUM ANALYZE", None),
        ):
            cursor.execute(statement, parameters)
    connection.close()


def wait_until_open(items, began, within_s=120):
    """Seconds since ``began`` until every gate is open, and what customers heard meanwhile."""
    from flashsale.core.errors import FlashsaleError
    from inventory.admission import gate

    heard = set()
    while True:
        try:
            is_open = all(gate.versions(items).values())
        except FlashsaleError:
            is_open = False
        if is_open:
            break
        try:
            gate.issue_token(items[len(items) // 2], 1)
        except FlashsaleError as error:
            heard.add(error.code)
        if time.monotonic() - began > within_s:
            raise SystemExit("the gates did not open")
        time.sleep(0.01)
    took = time.monotonic() - began
    for item in items:
        gate.issue_token(item, 1)  # raises unless it admits
    return took, heard


def lose_by_flush(server):
    from flashsale.core.redis_client import gate_client

    gate_client().flushall()


def lose_the_disk(server):
    server.kill()
    shutil.rmtree(server.folder / server.name)
    server.start()


def check(items):
    """Every gate has what the ledger has."""
    from django.db import connection

    from flashsale.core.redis_client import gate_client
    from inventory import selectors
    from inventory.admission import gate, keys
    from tasks.repair.drift import drift

    ledger = selectors.stock_of(items)
    assert gate.stocks(items) == {item: columns.available for item, columns in ledger.items()}
    pipe = gate_client().pipeline(transaction=False)
    for item in items:
        pipe.hlen(keys.held(item))
        pipe.hlen(keys.buyers(item))
    sizes = pipe.execute()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT item_id, count(*) FILTER (WHERE status = 'pending_payment'), count(DISTINCT customer_id) "
            "FROM orders_order GROUP BY 1 ORDER BY 1"
        )
        assert sizes == [size for row in cursor.fetchall() for size in row[1:]]
    assert not any(drift(item).differs for item in items[:: max(1, len(items) // 20)])


def peak_mb(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def measure(options, server):
    from inventory import selectors

    items = selectors.watched_items()
    sweeper = subprocess.Popen([sys.executable, "manage.py", "sweep"], cwd=ROOT)
    results = {}
    try:
        first, _ = wait_until_open(items, time.monotonic())
        print(f"first gates: {first:.2f} s")
        for lose in (lose_by_flush, lose_the_disk):
            rounds, heard = [], set()
            for _ in range(options.rounds):
                time.sleep(1.3 * len(rounds) % 1)  # the sweep has its own second; not always the same part of it is waited for
                began = time.monotonic()
                lose(server)
                took, codes = wait_until_open(items, began)
                check(items)
                rounds.append(round(took, 2))
                heard |= codes
                print(f"{lose.__name__}: {took:.2f} s, customers heard {sorted(codes)}")
            results[lose.__name__] = {
                "seconds": rounds,
                "median_s": statistics.median(rounds),
                "worst_s": max(rounds),
                "customers_heard": sorted(heard),
            }
        results["sweeper_peak_mb"] = round(peak_mb(sweeper.pid))
    finally:
        sweeper.terminate()
        sweeper.wait(20)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000)
    parser.add_argument("--orders", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3, help="of each kind of loss")
    parser.add_argument("--unpaid", type=int, default=20, help="percent of the orders that wait for their payment")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "rebuild.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flashsale-") as home:
        Path(home).chmod(0o755)
        servers = Embedded(Path(home), {})
        with servers:
            os.environ |= servers.test_addresses | {"FLASHSALE_VAR": home, "DJANGO_SETTINGS_MODULE": "flashsale.settings.dev"}
            import django

            django.setup()
            from django.core.management import call_command

            call_command("migrate", verbosity=0)
            fill(options)
            results = measure(options, servers.servers["REDIS_URL"])
    about = {
        "measures": "seconds from the loss of all of the gate's Valkey until every item admits again, found and mended by one "
        "manage.py sweep process",
        "commit": subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=ROOT, check=False
        ).stdout.strip(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "items": options.items,
        "orders": options.orders,
        "unpaid_percent": options.unpaid,
    }
    options.out.write_text(json.dumps({"about": about, "results": results}, indent=1) + "\n")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
