"""The gate killed with its disk under load: how many acknowledged orders are gone, and what their customers are told.

Threads buy from gates with ``appendfsync always``, real workers and a sweeper carry the orders on; in mid-flow Valkey is
killed, its data folder removed and an empty one started. Lost is what was acknowledged and never reaches the ledger: at most
what was admitted within the dispatch lag. ``python -m tests.load.bench_loss``.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from flashsale.stack.embedded import Embedded

ROOT = Path(__file__).parent.parent.parent
_CELERY = ("-m", "celery", "-A", "flashsale", "worker", "--without-gossip", "--without-mingle", "-l", "ERROR")
_PROCESSES = (
    (*_CELERY, "-n", "intake@%h", "-Q", "dispatch,inventory", "-c", "1"),
    (*_CELERY, "-n", "settle@%h", "-Q", "orders,payments,cancellations", "-c", "2"),
    ("manage.py", "sweep"),
)


def shop(item, sku, customer, lane, rate, stop, acknowledged):
    """Orders at this rate, open loop; ``acknowledged`` gets the ids of those that were promised."""
    from flashsale.core.errors import FlashsaleError
    from inventory.admission import gate
    from orders import placement

    began = time.monotonic()
    for number in range(10**6):
        if stop.wait(max(0.0, began + number / rate - time.monotonic())):
            return
        try:
            token = gate.issue_token(item, customer).token
            request = placement.OrderRequest(token, sku, 1, "bench", f"{item}-{lane}-{number}", "pm_ok")
            acknowledged.append((customer, placement.place_order(customer, request).order_id))
        except FlashsaleError:
            pass


def one_round(number, options, customers, server):
    from orders import placement
    from orders.models import Order
    from tests.load.bench_expiries import make_items, until

    [item] = make_items(f"loss-{number}", 1, 10**6)
    stop, acknowledged = threading.Event(), []
    threads = [
        threading.Thread(
            target=shop,
            args=(item, f"loss-{number}-0", customer, lane, options.rate / len(customers), stop, acknowledged),
        )
        for lane, customer in enumerate(customers)
    ]
    for thread in threads:
        thread.start()
    time.sleep(options.seconds)
    server.kill()
    stop.set()
    for thread in threads:
        thread.join()
    shutil.rmtree(server.folder / server.name)
    server.start()
    from inventory.admission import gate

    until(lambda: gate.versions([item])[item], 30, "the gate is back")
    rate = len(acknowledged) / options.seconds
    mine = Order.objects.filter(item=item)
    known = -1
    while known != (known := mine.count()):  # what was claimed may still arrive
        time.sleep(6)
    kept = set(mine.values_list("pk", flat=True))
    lost = [(customer, pk) for customer, pk in acknowledged if pk not in kept]
    told = [placement.order_of(customer, pk) for customer, pk in lost]
    ends = sorted({f"{view['status']}: {view['reason']}" for view in told})
    result = {"acknowledged": len(acknowledged), "per_s": round(rate), "lost": len(lost)}
    result |= {"lost_ms_of_admission": round(1000 * len(lost) / rate), "told": ends}
    print(result, flush=True)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--rate", type=int, default=300, help="orders per second")
    parser.add_argument("--seconds", type=float, default=6.0, help="before the kill")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "loss.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flashsale-") as home:
        Path(home).chmod(0o755)
        servers = Embedded(Path(home), {})
        with servers:
            os.environ |= servers.test_addresses | {"FLASHSALE_VAR": home, "DJANGO_SETTINGS_MODULE": "flashsale.settings.dev"}
            rounds = with_processes(options, servers.servers["REDIS_URL"])
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=ROOT, check=False)
    about = {
        "measures": "acknowledged orders that a killed gate without its disk has taken with it",
        "commit": head.stdout.strip(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }
    options.out.write_text(json.dumps({"about": about, "rounds": rounds}, indent=1) + "\n")


def with_processes(options, server):
    import django

    django.setup()
    from django.contrib.auth import get_user_model
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    users = get_user_model().objects
    users.bulk_create([get_user_model()(username=f"loss-{number}", password="!") for number in range(4)])
    customers = list(users.values_list("pk", flat=True))
    processes = [subprocess.Popen([sys.executable, *command], cwd=ROOT) for command in _PROCESSES]
    try:
        time.sleep(5)  # the workers come up; a round that began without them would have nothing dispatched
        return [one_round(number, options, customers, server) for number in range(options.rounds)]
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(30)


if __name__ == "__main__":
    main()
