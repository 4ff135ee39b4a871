"""`make bench-service`: how many decisions a second the rate-limit service makes on one core, and how long one takes at half of
what is asked of it.

The service is pinned to one core, this client to the others. First a closed loop of concurrent calls over a few channels (the
most it can do), then an open loop at an even pace: a call that is late because the client was late counts from when it was due.
"""

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

os.environ["DJANGO_SETTINGS_MODULE"] = "flashsale.settings.test"
import django

django.setup()

import grpc
from django.core.management import call_command
from envoy.extensions.common.ratelimit.v3.ratelimit_pb2 import RateLimitDescriptor
from envoy.service.ratelimit.v3 import rls_pb2, rls_pb2_grpc

from flashsale.ratelimit.service.server import DOMAIN
from flashsale.stack.servers import free_port

METHOD = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
ADDRESSES = 200
CHANNELS = 4
WANTED_PER_S, WANTED_P99_MS = 2_500, 10.0


def requests() -> list[bytes]:
    """Serialized once: the client's share of the work is not what is measured."""
    found = []
    for number in range(ADDRESSES):
        request = rls_pb2.RateLimitRequest(domain=DOMAIN, hits_addend=1)
        request.descriptors.append(
            RateLimitDescriptor(entries=[RateLimitDescriptor.Entry(key="remote_address", value=f"198.51.100.{number}")])
        )
        found.append(request.SerializeToString())
    return found


def channels(address: str) -> list["grpc.aio.Channel"]:
    options = [("grpc.use_local_subchannel_pool", 1)]
    return [grpc.aio.insecure_channel(address, options=options) for _ in range(CHANNELS)]


async def closed_loop(address: str, seconds: float, concurrency: int) -> dict[str, float]:
    open_channels = channels(address)
    calls = [channel.unary_unary(METHOD) for channel in open_channels]
    bodies, latencies = requests(), []
    until = time.perf_counter() + seconds

    async def caller(number: int) -> None:
        call = calls[number % CHANNELS]
        while (began := time.perf_counter()) < until:
            await call(bodies[(number + len(latencies)) % ADDRESSES], timeout=5)
            latencies.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(caller(number) for number in range(concurrency)))
    took = time.perf_counter() - began
    for channel in open_channels:
        await channel.close()
    return {"decisions_per_s": round(len(latencies) / took), **percentiles(latencies)}


async def open_loop(address: str, seconds: float, rate: float) -> dict[str, float]:
    open_channels = channels(address)
    calls = [channel.unary_unary(METHOD) for channel in open_channels]
    bodies, latencies, late = requests(), [], 0.0

    async def one(number: int, due: float) -> None:
        await calls[number % CHANNELS](bodies[number % ADDRESSES], timeout=5)
        latencies.append(time.perf_counter() - due)

    began, running = time.perf_counter(), []
    for number in range(int(seconds * rate)):
        due = began + number / rate
        wait = due - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        late = max(late, time.perf_counter() - due)
        running.append(asyncio.create_task(one(number, due)))
    await asyncio.gather(*running)
    took = time.perf_counter() - began
    for channel in open_channels:
        await channel.close()
    return {"decisions_per_s": round(len(latencies) / took), **percentiles(latencies), "sent_late_ms": round(1000 * late, 1)}


def percentiles(latencies: list[float]) -> dict[str, float]:
    ordered = sorted(latencies)
    return {f"p{part}_ms": round(1000 * ordered[min(len(ordered) - 1, len(ordered) * part // 100)], 2) for part in (50, 99)}


def answers(address: str) -> None:
    """Waits until the service decides by a rule, not only answers."""
    question = rls_pb2.RateLimitRequest.FromString(requests()[0])
    deadline = time.monotonic() + 30
    with grpc.insecure_channel(address) as channel:
        stub = rls_pb2_grpc.RateLimitServiceStub(channel)
        while True:
            try:
                answer = stub.ShouldRateLimit(question, timeout=1, wait_for_ready=True)
                assert answer.statuses[0].current_limit.name, "no rule decides"
                return
            except grpc.RpcError:
                if time.monotonic() > deadline:
                    raise


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    call_command("migrate", interactive=False, verbosity=0)
    cores = sorted(os.sched_getaffinity(0))
    port = free_port()
    service = subprocess.Popen(
        [sys.executable, "manage.py", "ratelimit_service", "--port", str(port)],
        preexec_fn=lambda: os.sched_setaffinity(0, {cores[0]}),
    )
    os.sched_setaffinity(0, set(cores[1:] or cores))
    address = f"127.0.0.1:{port}"
    try:
        answers(address)
        asyncio.run(closed_loop(address, 1.0, arguments.concurrency))
        most, paced = [], []
        for _ in range(arguments.rounds):
            most.append(asyncio.run(closed_loop(address, arguments.seconds, arguments.concurrency)))
            paced.append(asyncio.run(open_loop(address, arguments.seconds, WANTED_PER_S / 2)))
    finally:
        service.terminate()
        service.wait(15)
    most.sort(key=lambda one: one["decisions_per_s"])
    paced.sort(key=lambda one: one["p99_ms"])
    found = {"most, closed loop": most[len(most) // 2], "paced at 1,250/s": paced[len(paced) // 2]}
    for name, values in found.items():
        print(f"{name:20} {json.dumps(values)}")
    if arguments.json:
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
        about = {
            "commit": commit.stdout.strip(),
            "cores": len(cores),
            "python": platform.python_version(),
            "service": "one core",
        }
        rounds = {"most": most, "paced": paced}
        arguments.json.write_text(json.dumps({"about": about, "results": found, "rounds": rounds}, indent=1) + "\n")
    good = found["most, closed loop"]["decisions_per_s"] >= WANTED_PER_S
    return 0 if good and found["paced at 1,250/s"]["p99_ms"] < WANTED_P99_MS else 1


if __name__ == "__main__":
    sys.exit(main())
