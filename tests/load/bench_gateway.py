"""`make bench-gateway`: what a refusal costs at the gateway, beside the web process behind it, in one run.

The client keeps `--connections` connections open, one request under way on each; it only looks for status lines in what
comes back, on bare sockets, so it costs far less than who answers. In turns, so that noise meets all:

- gateway refuses: the address's local bucket is empty;
- web answers: the list of sales, from the process's memory, the cheapest real answer there is;
- web refuses: the throttle, from the process's own deny cache.
"""

import argparse
import json
import os
import platform
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["DJANGO_SETTINGS_MODULE"] = "flashsale.settings.test"
import django

django.setup()

from django.core.management import call_command

from flashsale.ratelimit.rules import services
from flashsale.ratelimit.rules.models import LimitRule
from flashsale.stack.servers import free_port

REQUIRED = 5
BIN = Path(sys.executable).parent


def status_of(port: int, path: str) -> int:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            return int(client.recv(64).split()[1])
    except (OSError, IndexError):
        return 0


def until(port: int, path: str, status: int) -> None:
    deadline = time.monotonic() + 30
    while status_of(port, path) != status:
        assert time.monotonic() < deadline, f"{path} on {port} does not answer {status}"
        time.sleep(0.05)


def load(port: int, path: str, status: int, *, seconds: float, connections: int) -> tuple[float, float]:
    """Answers a second, and the client's own share of a core."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    right = f"HTTP/1.1 {status} ".encode()
    selector = selectors.DefaultSelector()
    for _ in range(connections):
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(request)
        selector.register(client, selectors.EVENT_READ)
    answered, others, cpu, began = 0, 0, time.process_time(), time.perf_counter()
    while time.perf_counter() - began < seconds:
        for key, _ in selector.select(0.5):
            data = key.fileobj.recv(65_536)
            assert data, "the connection was closed"
            if data.startswith(b"HTTP/1.1 "):  # the rest of an answer, where it comes apart, is no answer
                answered += data.startswith(right)
                others += not data.startswith(right)
                key.fileobj.sendall(request)
    took = time.perf_counter() - began
    cpu = time.process_time() - cpu
    assert others <= took + 2, f"{others} answers were not {status}"  # one a second passes the bucket
    for key in list(selector.get_map().values()):
        key.fileobj.close()
    return answered / took, cpu / took


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    call_command("migrate", verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    call_command("seed_demo", verbosity=0)
    LimitRule.objects.all().delete()
    refusing = LimitRule(name="refuses", applies_to="api:sale", key="all", algorithm="token_bucket", rate=1, burst=1)
    refusing.window_ms, refusing.on_failure = 3_600_000, "closed"  # a busy machine must not make it pass
    services.save_rule(refusing, actor="bench")
    port, operator_port, web_port = free_port(), free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "GATEWAY_DIR": folder,
            "GATEWAY_LISTEN": f"127.0.0.1:{port}",
            "GATEWAY_OPERATOR_LISTEN": f"127.0.0.1:{operator_port}",
            "GATEWAY_WEB": f"127.0.0.1:{web_port}",
            "GATEWAY_ADDRESS_RATE": "1",
            "GATEWAY_ADDRESS_BURST": "1",
        }
        subprocess.run([sys.executable, "manage.py", "gateway_config"], env=environment, check=True, stdout=subprocess.DEVNULL)
        web = f"granian --interface asginl --loop uvloop --runtime-mode st --host 127.0.0.1 --port {web_port} --workers 2"
        web += " --backlog 4096"
        commands: list[list[str]] = [
            f"{BIN}/{web} --no-ws --log-level warning flashsale.asgi:application".split(),
            [sys.executable, "-m", "flashsale.stack", "gateway", "--", f"{folder}/gateway.json", f"{folder}/admin.sock"],
        ]
        processes = [subprocess.Popen(command, env=environment) for command in commands]
        try:
            results = measure(arguments, port, web_port)
        finally:
            for process in processes:
                process.terminate()
                process.wait(15)
    gateway, web_answers, web_refuses = (one["requests_per_s"] for one in results.values())
    ratios = {"over web answers": round(gateway / web_answers, 1), "over web refuses": round(gateway / web_refuses, 1)}
    for name, values in (results | {"gateway refuses, times": ratios}).items():
        print(f"{name:24} {json.dumps(values)}")
    if arguments.json:
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
        about = {"commit": commit.stdout.strip(), "cores": os.cpu_count(), "python": platform.python_version()}
        about |= {"connections": arguments.connections, "web": "granian, 2 workers"}
        arguments.json.write_text(json.dumps({"about": about, "results": results, "ratios": ratios}, indent=1) + "\n")
    return 0 if min(ratios.values()) >= REQUIRED else 1


def measure(arguments: argparse.Namespace, port: int, web_port: int) -> dict[str, dict[str, float]]:
    until(web_port, "/api/v1/sales/", 200)
    until(web_port, "/api/v1/sales/demo/", 429)
    until(port, "/api/v1/sales/", 429)
    targets = {
        "gateway refuses": (port, "/api/v1/sales/", 429),
        "web answers": (web_port, "/api/v1/sales/", 200),
        "web refuses": (web_port, "/api/v1/sales/demo/", 429),
    }
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in targets}
    shape = {"seconds": arguments.seconds, "connections": arguments.connections}
    for _ in range(arguments.rounds):
        for name, target in targets.items():
            rounds[name].append(load(*target, **shape))
    middle = {name: sorted(found)[len(found) // 2] for name, found in rounds.items()}
    return {
        name: {"requests_per_s": round(rate), "client_share_of_a_core": round(cpu, 2)} for name, (rate, cpu) in middle.items()
    }


if __name__ == "__main__":
    sys.exit(main())
