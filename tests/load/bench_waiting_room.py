"""`make bench-waiting-room`: tickets and polls a second over HTTP, and what they cost the gate, with 50,000 customers in line.

The web process is the Procfile's, the rules are those of a new installation, every customer has an address of their own. The
client keeps connections open with one request under way on each and runs on the same cores. In turns, so that noise meets all:

- plain: a purchase token of a sale without a waiting room, the baseline;
- join: a new customer asks for one where 50,000 wait, and gets a ticket;
- poll: a customer in that line asks for their place.

Beside them joins and polls at an even pace, for the times. Last the gate's script alone, at lines of three lengths.
"""

import argparse
import itertools
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

os.environ["DJANGO_SETTINGS_MODULE"] = "flashsale.settings.test"
import django

django.setup()

import psutil
from django.core.management import call_command
from django.db import connection
from honcho.environ import parse_procfile
from rest_framework_simplejwt.tokens import AccessToken

from flashsale.core.ids import new_purchase_token
from flashsale.core.redis_client import gate_client
from flashsale.loadtest.http import Client, Request, Script
from flashsale.ratelimit.in_process import limits_client
from flashsale.settings.env import BASE_DIR
from flashsale.stack.servers import free_port
from inventory.admission import keys, waiting_room
from inventory.models import SaleItem
from tests.load.bench_gateway import until

LINE = 50_000
LENGTHS = (100, 5_000, 50_000)
WANTED_PER_S = 1_000
PACE = 100
_CHUNK = 500
_FAR_US = 10**15  # keeps the standing line from lapsing while others are measured
_newcomers = itertools.count(10_000_000)


def make_sales() -> int:
    """One sale with a waiting room, whose item is returned, and one without."""
    for slug, more in (("line", {"waiting_room": PACE}), ("plain", {})):
        call_command("create_sale", slug, sku="thing", units=1_000_000, price="10.00", verbosity=0, **more)
    return SaleItem.objects.get(sale__slug="line").pk


def stand(item: int, count: int) -> list[tuple[int, str]]:
    """``count`` customers in an empty line, and their tickets. The first pass at once; the others never lapse."""
    client = gate_client()
    client.delete(keys.line(item), keys.seen(item), keys.called(item), keys.tickets(item), keys.turns(item))
    places = []
    for start in range(0, count, _CHUNK):
        calls = []
        for customer in range(start, min(start + _CHUNK, count)):
            places.append((customer + 1, new_purchase_token(item)))
            calls.append(waiting_room.call(item, *places[-1], "join"))
        waiting_room.STAND.each(client, calls)
    for start in range(0, count, _CHUNK):
        client.zadd(keys.seen(item), {str(customer): 2 * _FAR_US for customer, _ in places[start : start + _CHUNK]}, xx=True)
    return places


def head(method: str, path: str, customer: int, token: str) -> bytes:
    body = b"{}" if method == "POST" else b""
    address = f"10.{customer >> 16 & 255}.{customer >> 8 & 255}.{customer & 255}"
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {token}", f"X-Forwarded-For: {address}"]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def token_of(customer: int) -> str:
    token = AccessToken()
    token["user_id"] = str(customer)
    return str(token)


def newcomers(slug: str, count: int) -> list[bytes]:
    path = f"/api/v1/sales/{slug}/items/thing/purchase-tokens/"
    return [head("POST", path, customer, token_of(customer)) for customer in itertools.islice(_newcomers, count)]


def polls(places: list[tuple[int, str]]) -> list[bytes]:
    return [head("GET", f"/api/v1/waiting-room/{ticket}/", customer, token_of(customer)) for customer, ticket in places]


@dataclass
class Load:
    """Seconds of every answer, from when its request was due, and how often each status came."""

    took_s: float = 0.0
    client_cpu_s: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def per_s(self) -> float:
        return len(self.latencies) / self.took_s

    def percentile_ms(self, part: int) -> float:
        ordered = sorted(self.latencies)
        return round(1000 * ordered[min(len(ordered) - 1, len(ordered) * part // 100)], 2)

    def ask(self, requests: Iterable[bytes], until: float = math.inf) -> Script:
        """Send one request after the other, each once the one before is answered."""
        for data in requests:
            if time.monotonic() >= until:
                return
            answer = yield Request("", data)
            self.latencies.append(answer.latency_s)
            self.statuses[answer.status] += 1


def drive(port: int, requests: Iterator[bytes], *, seconds: float, connections: int, rate: float | None = None) -> Load:
    """Send requests for so many seconds, or until they run out.

    Args:
        rate: requests/s, evenly spaced. Left out, each connection sends as soon as it was answered.
    """
    load, client = Load(), Client("127.0.0.1", port, connections=connections)
    began = time.monotonic()
    if rate is None:
        arrivals = iter([(0.0, load.ask(requests, began + seconds)) for _ in range(connections)])
    else:
        some = itertools.islice(requests, int(rate * seconds))
        arrivals = ((number / rate, load.ask([data])) for number, data in enumerate(some))
    totals = client.play(arrivals, began=began)
    load.took_s, load.client_cpu_s = totals.took_s, totals.cpu_s
    return load


class Meter:
    """Whose processor time and round trips went into a load."""

    def __init__(self, web: psutil.Process) -> None:
        servers = {"gate": gate_client(), "limits": limits_client()}
        self._clients = servers
        self._processes = {"web": [web, *web.children(recursive=True)]}
        self._processes |= {name: [psutil.Process(one.info("server")["process_id"])] for name, one in servers.items()}
        self._before = self._reading()

    def _reading(self) -> dict[str, float]:
        reading = {name: sum(sum(one.cpu_times()[:2]) for one in family) for name, family in self._processes.items()}
        for name, client in self._clients.items():
            stats = client.info("commandstats")
            reading[f"{name}_trips"] = stats.get("cmdstat_evalsha", {}).get("calls", 0)
        with connection.cursor() as cursor:
            cursor.execute("SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()")
            reading["transactions"] = cursor.fetchone()[0]
        return reading

    def per_request(self, load: Load) -> dict[str, float]:
        after = self._reading()
        spent = {name: (after[name] - before) / len(load.latencies) for name, before in self._before.items()}
        cpu = {f"{name}_cpu_us": round(1e6 * spent[name]) for name in ("web", "gate", "limits")}
        trips = {name: round(spent[name], 2) for name in ("gate_trips", "limits_trips", "transactions")}
        return cpu | {"client_cpu_us": round(1e6 * load.client_cpu_s / len(load.latencies))} | trips


def measured(web: psutil.Process, port: int, requests, statuses: set[int], **shape) -> dict[str, float]:
    meter = Meter(web)
    load = drive(port, iter(requests), **shape)
    assert set(load.statuses) <= statuses, f"{load.statuses}"
    times = {"p50_ms": load.percentile_ms(50), "p99_ms": load.percentile_ms(99)}
    return {"per_s": round(load.per_s), **times, **meter.per_request(load)}


def over_http(arguments: argparse.Namespace, web: psutil.Process, port: int, item: int) -> dict[str, dict[str, float]]:
    shape = {"seconds": arguments.seconds, "connections": arguments.connections}
    enough = int(4_000 * arguments.seconds)
    asking = itertools.cycle(polls(stand(item, LINE)))
    rounds: dict[str, list[dict[str, float]]] = {}
    paced = {**shape, "rate": WANTED_PER_S}
    warm = {"seconds": 1.0, "connections": arguments.connections}
    drive(port, iter(newcomers("line", 4_000)), **warm)
    for _ in range(arguments.rounds):
        mixed = (request for pair in zip(newcomers("line", enough), asking, strict=False) for request in pair)
        for name, requests, statuses, how in (
            ("plain", newcomers("plain", enough), {201}, shape),
            ("join", newcomers("line", enough), {202}, shape),
            ("poll", asking, {200}, shape),
            ("join, 1,000/s", newcomers("line", enough), {202}, paced),
            ("poll, 1,000/s", asking, {200}, paced),
            ("500 joins/s and 500 polls/s", mixed, {200, 202}, paced),
        ):
            rounds.setdefault(name, []).append(measured(web, port, requests, statuses, **how))
    return {name: median(each, "p99_ms") for name, each in rounds.items()}


def median(rounds: list[dict[str, float]], by: str) -> dict[str, float]:
    return sorted(rounds, key=lambda one: one[by])[len(rounds) // 2]


def at_the_gate(item: int, length: int, calls: int) -> dict[str, float]:
    """The script alone with so many in line: server time by itself, then one caller who waits, then many in one trip."""
    client, places, found = gate_client(), stand(item, length), {}
    for verb in ("join", "ask"):
        made = [_one(item, places, verb, number) for number in range(calls)]
        client.config_resetstat()
        latencies = []
        for keys_, args in made:
            began = time.perf_counter()
            waiting_room.STAND(client, keys_, args)
            latencies.append(time.perf_counter() - began)
        load = Load(sum(latencies), latencies=latencies)
        found[f"{verb}_server_us"] = client.info("commandstats")["cmdstat_evalsha"]["usec_per_call"]
        found |= {f"{verb}_alone_per_s": round(load.per_s), f"{verb}_p50_ms": load.percentile_ms(50)}
        found[f"{verb}_p99_ms"] = load.percentile_ms(99)
        made = [_one(item, places, verb, calls + number) for number in range(10 * _CHUNK)]
        began = time.perf_counter()
        for start in range(0, len(made), _CHUNK):
            waiting_room.STAND.each(client, made[start : start + _CHUNK])
        found[f"{verb}_pipelined_per_s"] = round(len(made) / (time.perf_counter() - began))
    return found


def _one(item: int, places: list[tuple[int, str]], verb: str, number: int):
    if verb == "join":
        return waiting_room.call(item, next(_newcomers), new_purchase_token(item), "join")
    return waiting_room.call(item, *places[number * 7919 % len(places)], "ask")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    load_before = round(os.getloadavg()[0], 1)  # of others on the machine, who make every figure worse
    call_command("migrate", verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    item = make_sales()
    port = free_port()
    line = parse_procfile((BASE_DIR / "Procfile").read_text(encoding="utf-8")).processes["web"]
    command = line.replace("$APP_PORT", str(port)).split()
    environment = os.environ | {"TRUSTED_PROXIES": "127.0.0.0/8"}  # each connection has an address of its own
    web = subprocess.Popen([str(Path(sys.executable).parent / command[0]), *command[1:]], cwd=BASE_DIR, env=environment)
    try:
        until(port, "/api/v1/sales/line/", 200)
        found = over_http(arguments, psutil.Process(web.pid), port, item)
    finally:
        web.terminate()
        web.wait(15)
    gates = [{length: at_the_gate(item, length, 1_000) for length in LENGTHS} for _ in range(arguments.rounds)]
    found |= {f"gate, {length:,} in line": median([one[length] for one in gates], "ask_server_us") for length in LENGTHS}
    for name, values in found.items():
        print(f"{name:28} {json.dumps(values)}")
    if arguments.json:
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
        about = {
            "commit": commit.stdout.strip(),
            "cores": os.cpu_count(),
            "load_before": load_before,
            "python": platform.python_version(),
        }
        about |= {"connections": arguments.connections, "line": LINE, "web": line.partition(" ")[2], "client": "same cores"}
        arguments.json.write_text(json.dumps({"about": about, "results": found}, indent=1) + "\n")
    return 0 if min(found[name]["per_s"] for name in ("join", "poll")) >= WANTED_PER_S else 1


if __name__ == "__main__":
    sys.exit(main())
