"""`make bench-door`: how many requests and orders the shop takes over HTTP, beside what its parts can do at best, in one run.

Runs beside the whole stack (`python -m flashsale.stack with -- ...`) and drives it with wrk (`apt-get install wrk`) in
alternating rounds; each figure is the median, with the CPU per request of every process and of wrk. All on one machine: the
load shares the cores with the servers. The bounds:

- null view: an empty Django view on Granian, no gateway;
- empty app: Envoy -> Granian -> an empty WSGI function; of everything that Python answers;
- direct: Envoy's own direct response; of everything that the gateway answers.

The address rules and the gateway's own bucket (`GATEWAY_ADDRESS_RATE`) are lifted for the run, as all load comes from one
address; every other shipped rule is in force.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "flashsale.settings.dev")
import django

django.setup()

import psutil
from django.conf import settings
from django.core.management import call_command

from flashsale.core.redis_client import gate_client
from flashsale.loadtest import customers
from flashsale.ratelimit.rules.models import LimitRule
from flashsale.ratelimit.rules.publish import publish
from flashsale.settings.env import BASE_DIR
from flashsale.stack.gateway import envoy_binary
from flashsale.stack.servers import free_port
from inventory.admission import gate, keys
from inventory.models import SaleItem
from tasks.repair.audit import audit, statuses
from tests.load import door_bounds

BIN = Path(sys.executable).parent
LUA = Path(__file__).parent / "door.lua"
CONNECTIONS = 16
CUSTOMERS = 30_000  # so that nobody meets the bound of purchase tokens for a customer
UNITS = 1_000_000
NEEDED = {  # of the bound
    "token, sold out": ("direct", 0.7),
    "sale page": ("direct", 0.7),
    "token": ("empty app", 0.45),
    "order, accepted": ("empty app", 0.3),
    "order, paid": ("empty app", 0.135),
}
_DISPATCHER = "intake@"


class Requests:
    """Files of prepared requests for wrk."""

    def __init__(self, folder: Path, jwts: list[tuple[int, str]]) -> None:
        self.folder = folder
        self.jwts = jwts
        self._orders = 0

    def plain(self, path: str) -> Path:
        return self._write("plain", [("GET", path, {}, "")])

    def tokens(self, path: str) -> Path:
        return self._write("token", [("POST", path, _bearer(jwt), "{}") for _, jwt in self.jwts])

    def orders(self, item: int, count: int) -> Path:
        """Orders of one unit, each with a purchase token of its own, as if it had just been issued."""
        lines = []
        for number in range(count):
            customer, jwt = self.jwts[number % len(self.jwts)]
            self._orders += 1
            body = {
                "token": gate.issue_token(item, customer).token,
                "sku": "door",
                "quantity": 1,
                "source": "bench",
                "seq": f"{item}-{time.time_ns()}-{self._orders}",
                "payment_method": "pm_ok",
            }
            lines.append(("POST", "/api/v1/orders/", _bearer(jwt), json.dumps(body)))
        return self._write("order", lines)

    def _write(self, name: str, lines: list[tuple[str, str, dict[str, str], str]]) -> Path:
        path = self.folder / f"{name}-{time.time_ns()}"
        with path.open("w", encoding="utf-8") as file:
            for method, address, headers, body in lines:
                named = "\1".join(f"{key}={value}" for key, value in headers.items())
                file.write(f"{method}\t{address}\t{named}\t{body}\n")
        return path


def _bearer(jwt: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {jwt}", "Content-Type": "application/json"}


def cpu_s() -> dict[str, float]:
    """CPU seconds used so far by each kind of process of the stack and of the bounds, and by wrk's parent's children."""
    used: dict[str, float] = defaultdict(float)
    for process in _of_this_stack():
        with suppress(psutil.Error):
            name, times = _kind(process.name(), " ".join(process.cmdline())), process.cpu_times()
            if name:
                used[name] += times.user + times.system
    return used


def _of_this_stack() -> list[psutil.Process]:
    """The processes that the launcher has started, this one's children among them; other stacks may run beside."""
    return psutil.Process(os.getppid()).children(recursive=True)


def _kind(name: str, command: str) -> str:
    for mark, kind in (
        ("flashsale.asgi", "web"),
        ("door_bounds", "bound"),
        ("intake@", "intake"),
        ("settle@", "settle"),
        ("ratelimit_service", "ratelimit"),
        ("publish_edge", "publisher"),
    ):
        if mark in command and "stack keep" not in command:
            return kind
    return name if name in ("envoy", "postgres", "valkey-server") else ""


def drive(url: str, requests: Path, seconds: float, *, connections: int = CONNECTIONS) -> dict[str, float]:
    """One run of wrk; its figures, and microseconds of CPU per request of each kind of process."""
    before, children = cpu_s(), os.times()
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", str(LUA), url, "--", str(requests), "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    after, ended = cpu_s(), os.times()
    found = json.loads(done.stdout.strip().splitlines()[-1])
    requests_done = max(1, found["requests"])
    wrk_s = ended.children_user + ended.children_system - children.children_user - children.children_system
    cpu = {name: round(1e6 * (after[name] - before.get(name, 0.0)) / requests_done) for name in sorted(after)}
    found["per_s"] = round(found["requests"] / found["seconds"])
    found["cpu_us"] = {name: used for name, used in cpu.items() if used} | {"wrk": round(1e6 * wrk_s / requests_done)}
    return found


@contextmanager
def bounds(folder: Path) -> Iterator[dict[str, str]]:
    """The bounds' processes; the addresses by name."""
    listen, app, view = free_port(), free_port(), free_port()
    (folder / "bound.json").write_text(json.dumps(door_bounds.envoy(listen, app)), encoding="utf-8")
    granian = [str(BIN / "granian"), "--interface", "wsgi", "--workers", "2", "--blocking-threads", "4", "--log-level", "error"]
    web = [
        [*granian, "--port", str(app), "tests.load.door_bounds:empty"],
        [*granian, "--port", str(view), "--factory", "tests.load.door_bounds:null_view"],
        [str(envoy_binary()), "-c", str(folder / "bound.json"), "--log-level", "error", "--use-dynamic-base-id"],
    ]
    processes = [subprocess.Popen(command, cwd=BASE_DIR, stderr=subprocess.DEVNULL) for command in web]
    try:
        found = {"empty app": f"http://127.0.0.1:{listen}", "null view": f"http://127.0.0.1:{view}"}
        for url in found.values():
            _await(url)
        yield found
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(20)


def _await(url: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@contextmanager
def without_address_rules() -> Iterator[None]:
    """For the time of the run one address may send what a crowd of them would."""
    rules = list(LimitRule.objects.filter(key=LimitRule.Key.ADDRESS, enabled=True).values_list("pk", flat=True))
    LimitRule.objects.filter(pk__in=rules).update(enabled=False)
    publish()
    time.sleep(1.5)  # until every process goes by it; a sweep may publish it meanwhile, to the same effect
    try:
        yield
    finally:
        LimitRule.objects.filter(pk__in=rules).update(enabled=True)
        publish()


@contextmanager
def dispatcher_stopped() -> Iterator[None]:
    """Nothing that is accepted is worked on."""
    stopped = [process for process in _of_this_stack() if _DISPATCHER in " ".join(process.cmdline())]
    for process in stopped:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in stopped:
            process.send_signal(signal.SIGCONT)


def make_sale(slug: str, units: int) -> int:
    call_command(
        "create_sale", slug, sku="door", units=units, price="10.00", per_customer=UNITS, verbosity=0, stdout=sys.stderr
    )
    return SaleItem.objects.get(sale__slug=slug).pk


def drained(slug: str, *, within_s: float) -> float:
    """Seconds until every admitted order of the sale is in an end state."""
    began = time.monotonic()
    item = SaleItem.objects.get(sale__slug=slug).pk
    while time.monotonic() - began < within_s:
        left = statuses(slug)
        if not (left["reserved"] or left["pending_payment"] or gate_client().xlen(keys.admitted(item))):
            return time.monotonic() - began
        time.sleep(0.1)
    raise SystemExit(f"{slug} was not drained within {within_s} s: {left}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sustain", type=float, default=60.0, help="seconds of orders that are accepted and paid")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("wrk is not installed: apt-get install wrk")
    stamp = int(time.time())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        issued = list(customers.issue("door-", CUSTOMERS))
        ids = _ids([username for username, _ in issued])
        requests = Requests(folder, [(ids[username], jwt) for username, jwt in issued])
        with without_address_rules(), bounds(folder) as at:
            rounds = _rounds(options, requests, at, stamp)
            sustained = _sustained(options, requests, stamp)
    result = _result(rounds, sustained)
    for caption, values in result["figures"].items():
        sys.stdout.write(f"{caption:18} {json.dumps(values)}\n")
    sys.stdout.write(f"ratios {json.dumps(result['ratios'])}\n")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0 if result["reached"] else 1


def _ids(usernames: list[str]) -> dict[str, int]:
    from django.contrib.auth import get_user_model

    return dict(get_user_model().objects.filter(username__in=usernames).values_list("username", "pk"))


def _rounds(
    options: argparse.Namespace, requests: Requests, at: dict[str, str], stamp: int
) -> dict[str, list[dict[str, float]]]:
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    shop = settings.WEB_URL
    for number in range(options.rounds):
        live, gone = f"door-live-{stamp}-{number}", f"door-gone-{stamp}-{number}"
        item = make_sale(live, UNITS)
        make_sale(gone, 0)
        time.sleep(2)  # until the web processes and the gateway know the sales
        calls = {
            "null view": (at["null view"], requests.plain("/"), 0),
            "empty app": (at["empty app"], requests.plain("/"), 0),
            "direct": (at["empty app"], requests.plain("/direct"), 0),
            "token": (shop, requests.tokens(f"/api/v1/sales/{live}/items/door/purchase-tokens/"), 0),
            "token, sold out": (shop, requests.tokens(f"/api/v1/sales/{gone}/items/door/purchase-tokens/"), 1),
            "sale page": (shop, requests.plain(f"/api/v1/sales/{live}/"), 0),
        }
        for caption, (url, file, is_refusal) in calls.items():
            one = drive(url, file, options.seconds)
            if one["failed"] or (one["refused"] not in ((one["requests"],) if is_refusal else (0,))):
                sys.stderr.write(f"{caption}: other answers than expected: {one}\n")
            found[caption].append(one)
        most = int(max(one["per_s"] for one in found["empty app"]) * 0.6 * options.seconds)
        with dispatcher_stopped():
            found["order, accepted"].append(_until_used(shop, requests.orders(item, most), most, options.seconds))
        drained(live, within_s=300)
        sys.stderr.write(f"round {number + 1}: { {caption: each[-1]['per_s'] for caption, each in found.items()} }\n")
    return found


def _until_used(url: str, file: Path, most: int, seconds: float) -> dict[str, float]:
    one = drive(url, file, seconds)
    if one["requests"] >= most:
        sys.stderr.write("the prepared orders were used up, and the last ones replayed: the figure is too good\n")
    if one["refused"] or one["failed"]:
        sys.stderr.write(f"order, accepted: other answers than expected: {one}\n")
    return one


def _sustained(options: argparse.Namespace, requests: Requests, stamp: int) -> dict[str, float | str]:
    """Orders accepted, settled and paid for so long, with the backlog at quarter times."""
    slug = f"door-sustained-{stamp}"
    item = make_sale(slug, UNITS)
    file = requests.orders(item, int(options.sustain * 2_000))
    began = time.monotonic()
    one = drive(settings.WEB_URL, file, options.sustain)
    at_end = statuses(slug)["paid"]
    took = time.monotonic() - began
    left_s = drained(slug, within_s=120)
    report = audit(slug)
    return one | {
        "paid": statuses(slug)["paid"],
        "paid_per_s": round(at_end / took),
        "drained_after_s": round(left_s, 2),
        "audit": "clean" if report.is_clean else "BREACH",
    }


def _result(rounds: dict[str, list[dict[str, float]]], sustained: dict[str, float | str]) -> dict[str, object]:
    figures: dict[str, dict[str, object]] = {}
    for caption, found in rounds.items():
        middle = sorted(found, key=lambda one: one["per_s"])[len(found) // 2]
        figures[caption] = middle | {"per_s_all": [one["per_s"] for one in found]}
    figures["order, paid"] = dict(sustained)
    rates = {caption: float(median(one["per_s"] for one in found)) for caption, found in rounds.items()}
    rates["order, paid"] = float(sustained["paid_per_s"])
    ratios = {name: round(rates[name] / rates[bound], 3) for name, (bound, _) in NEEDED.items()}
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=BASE_DIR)
    return {
        "about": {
            "commit": commit.stdout.strip(),
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "connections": CONNECTIONS,
        },
        "figures": figures,
        "ratios": ratios,
        "needed": {name: needed for name, (_, needed) in NEEDED.items()},
        "reached": all(ratios[name] >= needed for name, (_, needed) in NEEDED.items()),
    }


if __name__ == "__main__":
    sys.exit(main())
