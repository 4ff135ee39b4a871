"""`make bench-sign-in`: how many orders others get while bogus sign-ins run in a loop, in turns in one run.

The processes are those of the Procfile: web for customers, one of its own for sign-ins, workers. Bogus clients send made-up
names as fast as they are answered:

- quiet: none of them;
- one address: the rules that are shipped refuse most of them;
- many addresses: each request comes from another address with another name, so no rule helps and the bound on checks has to.
"""

import argparse
import http.client
import itertools
import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

os.environ["DJANGO_SETTINGS_MODULE"] = "flashsale.settings.dev"
import django

django.setup()

from datetime import timedelta
from decimal import Decimal

from django.core.management import call_command

from flashsale.core.clock import now
from flashsale.loadtest import customers
from flashsale.stack.servers import free_port
from inventory import services
from tasks.repair import gate_sync

REQUIRED = 0.5
BIN = Path(sys.executable).parent
_TIMEOUT_S = 20


def start(*command: str, **variables: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command, env=os.environ | variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def web(port: int, workers: int, *, nice: str = "0") -> "subprocess.Popen[bytes]":
    options = ("--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port), "--workers", str(workers))
    more = ("--blocking-threads", "4", "--no-ws", "--log-level", "warning", "flashsale.wsgi:application")
    return start("nice", "-n", nice, str(BIN / "granian"), *options, *more, TRUSTED_PROXIES="127.0.0.1")


def until_it_answers(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        with suppress(OSError):
            if send(http.client.HTTPConnection("127.0.0.1", port, timeout=2), "GET", "/health/live", None, {})[0] == 200:
                return
        assert time.monotonic() < deadline
        time.sleep(0.1)


def send(
    client: http.client.HTTPConnection, method: str, path: str, body: object, headers: dict[str, str]
) -> tuple[int, bytes]:
    sent = (method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json", **headers})
    try:
        client.request(*sent)
    except (BrokenPipeError, ConnectionResetError):  # not received in whole: sent again, as the gateway does
        client.close()
        client.request(*sent)
    answer = client.getresponse()
    return answer.status, answer.read()


class Crowd:
    """Buyers and bogus sign-ins, each on a connection of its own, one request under way."""

    def __init__(self, shop: int, sign_in: int, slug: str, jwts: list[str]) -> None:
        self._shop, self._sign_in, self._slug = shop, sign_in, slug
        self._jwts = itertools.cycle(jwts)
        self._numbers = itertools.count()
        self._start = time.time_ns()

    def run(self, seconds: float, *, buyers: int, bogus: int, address: str | None) -> tuple[float, Counter[int]]:
        """Orders per second, and what the bogus sign-ins were answered."""
        self._until = time.monotonic() + seconds
        admitted: list[int] = []
        answers: Counter[int] = Counter()
        threads = [threading.Thread(target=self._buy, args=(admitted,)) for _ in range(buyers)]
        threads += [threading.Thread(target=self._guess, args=(answers, address)) for _ in range(bogus)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(admitted) / seconds, answers

    def _buy(self, admitted: list[int]) -> None:
        client = http.client.HTTPConnection("127.0.0.1", self._shop, timeout=_TIMEOUT_S)
        while time.monotonic() < self._until:
            headers = {"Authorization": f"Bearer {next(self._jwts)}"}
            path = f"/api/v1/sales/{self._slug}/items/thing/purchase-tokens/"
            status, raw = send(client, "POST", path, {}, headers)
            if status != 201:
                continue
            body = {"token": json.loads(raw)["token"], "sku": "thing", "quantity": 1, "source": "bench"}
            body |= {"seq": f"{self._start}-{next(self._numbers)}", "payment_method": "pm_ok"}
            if send(client, "POST", "/api/v1/orders/", body, headers)[0] == 202:
                admitted.append(1)

    def _guess(self, answers: Counter[int], address: str | None) -> None:
        client = http.client.HTTPConnection("127.0.0.1", self._sign_in, timeout=_TIMEOUT_S)
        while time.monotonic() < self._until:
            number = next(self._numbers)
            origin = address or f"198.{18 + number % 2}.{number // 250 % 250}.{number % 250}"
            body = {"username": f"nobody-{number}", "password": "x"}
            answers[send(client, "POST", "/api/v1/auth/token/", body, {"X-Forwarded-For": origin})[0]] += 1


def open_sale() -> str:
    slug = f"sign-in-{time.time_ns()}"
    moment = now()
    sale = services.create_sale(
        slug=slug,
        name=slug,
        opens_at=moment - timedelta(minutes=1),
        closes_at=moment + timedelta(hours=1),
        payment_window=timedelta(minutes=10),
    )
    item = services.add_item(
        sale=sale, sku="thing", name="thing", units=1_000_000, price=Decimal("10.00"), per_customer=100_000
    )
    gate_sync.refresh_gates([item.pk])
    return slug


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=3, help="of one turn; short ones, so that noise meets all")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--buyers", type=int, default=6)
    parser.add_argument("--bogus", type=int, default=12)
    parser.add_argument("--together", action="store_true", help="the sign-ins go to the customers' processes")
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    call_command("migrate", verbosity=0)
    slug = open_sale()
    jwts = [jwt for _, jwt in customers.issue("bench-", 200, lifetime=timedelta(hours=1))]
    shop, sign_in = free_port(), free_port()
    worker = (str(BIN / "celery"), "-A", "flashsale", "worker", "-n", "bench@%h", "-c", "2", "-l", "ERROR")
    processes = [
        web(shop, 2),
        web(sign_in, 1, nice="5"),
        start(*worker, "-Q", "dispatch,inventory,orders,payments,cancellations"),
    ]
    ways: dict[str, tuple[int, str | None]] = {
        "quiet": (0, None),
        "one address": (options.bogus, "192.0.2.1"),
        "many addresses": (options.bogus, None),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    said: dict[str, Counter[int]] = {name: Counter() for name in ways}
    try:
        until_it_answers(shop)
        until_it_answers(sign_in)
        crowd = Crowd(shop, shop if options.together else sign_in, slug, jwts)
        crowd.run(3, buyers=options.buyers, bogus=0, address=None)
        for _, (name, (bogus, address)) in itertools.product(range(options.rounds), ways.items()):
            rate, answers = crowd.run(options.seconds, buyers=options.buyers, bogus=bogus, address=address)
            rates[name].append(round(rate, 1))
            said[name] += answers
            print(f"{name}: {rate:.0f} orders/s, sign-ins answered: {dict(answers)}", flush=True)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
    kept = {name: round(sum(found) / sum(rates["quiet"]), 2) for name, found in rates.items()}
    result = {
        "cores": os.cpu_count(),
        "load of the machine, 1 minute": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "bogus sign-ins at once": options.bogus,
        "together": options.together,
        "orders per second": rates,
        "kept": kept,
        "sign-ins answered": {name: dict(counts) for name, counts in said.items()},
    }
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0 if min(kept.values()) >= REQUIRED else 1


if __name__ == "__main__":
    sys.exit(main())
