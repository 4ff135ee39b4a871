"""How much of a provider's limit the shop uses: 200 ms latency, 100 requests a second. ``make bench-provider``.

Stripe's stand-in counts the requests of every second and refuses those over its limit. Real workers, as the Procfile starts
them; 5 of 100 payments take seconds and 10 are declined. Measured at the provider, in the steady part.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import django

from flashsale.stack.servers import free_port

ROOT = Path(__file__).parent.parent.parent
PORT = free_port()
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "flashsale.settings.dev")
os.environ |= {"STRIPE_API_KEY": "sk_test_bench", "STRIPE_API_BASE": f"http://127.0.0.1:{PORT}"}
django.setup()

from django.contrib.auth import get_user_model
from django.core.management import call_command

from inventory.admission import gate
from orders import order_ids
from orders.models import Order
from payments.models import Payment
from tasks.repair.audit import audit
from tasks.steps import pipeline
from tests.load.bench_expiries import _CELERY, _QUIET, make_items, until

_PROCESSES = (
    ("-m", "tests.fakes.stripe_server", str(PORT)),
    (*_CELERY, "worker", "-n", "intake@%h", "-Q", "dispatch,inventory", "-c", "1", *_QUIET),
    (*_CELERY, "worker", "-n", "settle@%h", "-Q", "orders,cancellations", "-c", "1", *_QUIET),
    (*_CELERY, "worker", "-n", "payments@%h", "-Q", "payments", "-c", "2", *_QUIET),
    (*_CELERY, "beat", "--schedule", f"{os.environ.get('FLASHSALE_VAR', 'var')}/beat-schedule", "--pidfile=", "-l", "ERROR"),
    ("manage.py", "sweep"),
)


def tell(name, **wishes):
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}/_fake/{name}", json.dumps(wishes).encode())
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def answers():
    try:
        return tell("state")
    except OSError:
        return None


def method_of(number):
    if number % 20 == 7:
        return "pm_card_slow"
    return "pm_card_chargeDeclined" if number % 10 == 3 else "pm_card_visa"


def admit(item, sku, customers):
    for number, customer in enumerate(customers):
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
            method=method_of(number),
        )
        if admission.wake:
            pipeline.wake(item)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=1_500)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    call_command("migrate", verbosity=0)
    users = get_user_model().objects
    users.bulk_create([get_user_model()(username=f"payer-{n}", password="!") for n in range(options.orders)])
    customers = list(users.filter(username__startswith="payer-").values_list("pk", flat=True))
    processes = [subprocess.Popen([sys.executable, *command], cwd=ROOT) for command in _PROCESSES]
    try:
        until(answers, 20, "the stand-in for Stripe")
        tell("behave", latency_s=0.2, slow_s=4.0, limit_per_s=100)
        [item] = make_items("provider", 1, options.orders)
        admit(item, "provider-0", customers)
        wanted = sum(method_of(number) == "pm_card_visa" for number in range(options.orders))
        paid = Order.objects.filter(item=item, status="paid")
        until(lambda: paid.count() >= wanted, 120, "all good orders are paid")
        state = tell("state")
        until(lambda: not Payment.objects.filter(status__in=("created", "processing", "unknown")).exists(), 60, "the slow ones")
        until(lambda: not (report := audit("provider")).in_flight and report.is_clean, 60, "a clean audit")
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
    written = state["written_at"]
    steady = written[len(written) // 20 : len(written) * 9 // 10]  # between the start and the last ones, which come one by one
    per_second = (len(steady) - 1) / (steady[-1] - steady[0])
    result = {
        "orders": options.orders,
        "requests_per_s": round(per_second, 1),
        "fullest_second": state["fullest_second"],
        "refused_429": state["refused"],
        "used": round(per_second / 100, 3),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "at": time.strftime("%Y-%m-%d"),
    }
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
