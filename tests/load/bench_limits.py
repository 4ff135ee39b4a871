"""`make bench-limits`: ours beside the limiters that Python has, on the same server in one run.

For each: decisions a second of one client, the server's own time per decision, bytes of one key, and what it admits under
loads that limiters get wrong, against the ideal of ``burst + rate * seconds``.
"""

import argparse
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

os.environ["DJANGO_SETTINGS_MODULE"] = "flashsale.settings.test"
import django

django.setup()

import limits as other_limits
import pyrate_limiter
import redis
import throttled
from django.conf import settings

from flashsale.ratelimit.algorithms.token_bucket import TokenBucket
from flashsale.ratelimit.limit import Check
from flashsale.ratelimit.stores.redis_store import RedisStore

S = 1_000_000
URL = settings.RATELIMIT_REDIS_URL
client = redis.Redis.from_url(URL, decode_responses=True)
Decide = Callable[[], bool]
LOADS = [  # units, per seconds, burst, offered a second, for seconds
    (100, 1, 10, 300, 4),
    (1000, 1, 100, 2000, 2),
    (100, 1, 50, 300, 4),
    (90, 60, 5, 20, 5),
]


def ours(rate: int, period_s: int, burst: int, rules: int = 1) -> Decide:
    store = RedisStore(lambda: client)
    checks = [Check(f"b:ours:{number}", TokenBucket(rate, period_s * S, burst)) for number in range(rules)]
    return lambda: store.decide(checks).granted == 1


def ours_four(rate: int, period_s: int, burst: int) -> Decide:
    return ours(rate, period_s, burst, rules=4)


def throttled_py(rate: int, period_s: int, burst: int) -> Decide:
    from datetime import timedelta

    quota = throttled.rate_limiter.per_duration(timedelta(seconds=period_s), rate, burst=burst)
    one = throttled.Throttled(key="b:throttled", using="gcra", quota=quota, store=throttled.RedisStore(server=URL))
    return lambda: not one.limit().limited


def limits_moving(rate: int, period_s: int, burst: int) -> Decide:
    storage = other_limits.storage.RedisStorage(URL)
    one = other_limits.strategies.MovingWindowRateLimiter(storage)
    item = other_limits.RateLimitItemPerSecond(rate, period_s)
    return lambda: one.hit(item, "b")


def limits_fixed(rate: int, period_s: int, burst: int) -> Decide:
    storage = other_limits.storage.RedisStorage(URL)
    one = other_limits.strategies.FixedWindowRateLimiter(storage)
    item = other_limits.RateLimitItemPerSecond(rate, period_s)
    return lambda: one.hit(item, "b")


def pyrate(rate: int, period_s: int, burst: int) -> Decide:
    bucket = pyrate_limiter.RedisBucket.init(
        [pyrate_limiter.Rate(rate, period_s * 1000)], redis.Redis.from_url(URL), "b:pyrate"
    )
    one = pyrate_limiter.Limiter(bucket)
    return lambda: bool(one.try_acquire("b", blocking=False))


CONTESTANTS: dict[str, Callable[[int, int, int], Decide]] = {
    "flashsale": ours,
    "flashsale, four rules": ours_four,
    "throttled-py, gcra": throttled_py,
    "limits, moving window": limits_moving,
    "limits, fixed window": limits_fixed,
    "pyrate-limiter": pyrate,
}


def server_us() -> int:
    usage = client.info("commandstats")
    return sum(int(one["usec"]) for name, one in usage.items() if name in ("cmdstat_evalsha", "cmdstat_eval", "cmdstat_fcall"))


def speed(make: Callable[[int, int, int], Decide], seconds: float) -> dict[str, float]:
    client.flushall()
    decide = make(20_000, 1, 1000)
    for _ in range(50):
        decide()
    client.config_resetstat()
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        decide()
        count += 1
    took = time.perf_counter() - began
    keys = list(client.scan_iter("*"))
    memory = sum(int(client.memory_usage(key) or 0) for key in keys)
    return {"decisions_per_s": round(count / took), "server_us": round(server_us() / count, 2), "bytes": memory}


def accuracy(make: Callable[[int, int, int], Decide]) -> list[float]:
    found = []
    for rate, period_s, burst, offered, seconds in LOADS:
        client.flushall()
        decide = make(rate, period_s, burst)
        began, passed = time.perf_counter(), 0
        for number in range(offered * seconds):
            wait = began + number / offered - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            passed += decide()
        took = time.perf_counter() - began
        ideal = min(offered * seconds, int(burst + rate * took / period_s))
        found.append(round(passed / ideal, 3))
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=0.7)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found: dict[str, dict[str, object]] = {}
    speeds: dict[str, list[dict[str, float]]] = {name: [] for name in CONTESTANTS}
    for _ in range(arguments.rounds):  # in turns, so that noise meets all of them
        for name, make in CONTESTANTS.items():
            speeds[name].append(speed(make, arguments.seconds))
    for name, make in CONTESTANTS.items():
        middle = sorted(speeds[name], key=lambda one: one["decisions_per_s"])[len(speeds[name]) // 2]
        found[name] = {**middle, "admitted_of_ideal": accuracy(make) if name != "flashsale, four rules" else None}
        print(f"{name:24} {json.dumps(found[name])}")
    if arguments.json:
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
        about = {
            "commit": commit.stdout.strip(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "server": client.info("server")["redis_version"],
            "loads": ["{}/{}s burst {}, offered {}/s for {} s".format(*load) for load in LOADS],
        }
        arguments.json.write_text(json.dumps({"about": about, "results": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
