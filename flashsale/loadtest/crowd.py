"""A crowd of simulated buyers in separate processes.

``python -m flashsale.loadtest.crowd`` is one of these processes. It reads a plan and its buyers from standard input, reports
progress now and then, and writes its tally as the last line.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from flashsale.loadtest.buyers import Buyers, Plan
from flashsale.loadtest.http import Client, Script
from flashsale.loadtest.tally import Tally

PROCESSES = 2
_CONNECTIONS = 3_000  # of one process
_START_S = 1.0  # time for the processes to start before the first buyer is due
_EVERY_S = 0.2
_line = threading.Lock()


def run(plan: Plan, credentials: Sequence[str | Sequence[str]], on_done: Callable[[int], None]) -> Tally:
    """Start every buyer at its time and wait for the last answer.

    Args:
        plan: its ``began`` should be ``soon()``.
        credentials: one per buyer, as for ``Buyers.buyer``.
        on_done: called with the number of newly finished buyers, from other threads.

    Raises:
        RuntimeError: a process of the crowd died.
    """
    tally, lock = Tally(), threading.Lock()
    processes = [_start(plan, credentials, offset) for offset in range(PROCESSES)]

    def follow(process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
            values = json.loads(line)
            with lock:
                if isinstance(values, int):
                    on_done(values)
                else:
                    tally.add(values)

    threads = [threading.Thread(target=follow, args=(process,), daemon=True) for process in processes]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:  # stop the crowd with this process
        for process in processes:
            process.kill()
        raise
    if any(process.wait() for process in processes):
        raise RuntimeError("a process of the simulated buyers died")
    return tally


def soon() -> float:
    """The earliest start of a crowd that is created now, in ``time.monotonic()``."""
    return time.monotonic() + _START_S


def _start(plan: Plan, credentials: Sequence[str | Sequence[str]], offset: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "flashsale.loadtest.crowd"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    json.dump({"plan": plan.as_values(), "offset": offset, "credentials": list(credentials[offset::PROCESSES])}, process.stdin)
    process.stdin.close()
    return process


def main() -> None:
    """One process of a crowd."""
    job: dict[str, Any] = json.load(sys.stdin)
    plan = Plan(**job["plan"])
    address = urlsplit(plan.url)
    buyers = Buyers(plan)
    threading.Thread(target=_report, args=(buyers,), daemon=True).start()
    client = Client(str(address.hostname), address.port or 80, connections=_CONNECTIONS, offset=job["offset"])
    totals = client.play(_arrivals(buyers, plan, job["offset"], job["credentials"]), began=plan.began)
    for kind, found in totals.latencies_s.items():
        buyers.tally.latencies_ms[kind] = [1000 * each for each in found]
    buyers.tally.late_ms, buyers.tally.cpu_s = 1000 * totals.late_s, totals.cpu_s
    _say(buyers.tally.as_values())


def _arrivals(
    buyers: Buyers, plan: Plan, offset: int, credentials: Sequence[str | Sequence[str]]
) -> Iterator[tuple[float, Script]]:
    for index, credential in enumerate(credentials):
        number = offset + index * PROCESSES
        yield number / plan.rate, buyers.buyer(number, credential)


def _report(buyers: Buyers) -> None:
    told = 0
    while True:
        time.sleep(_EVERY_S)
        done = buyers.done
        if done > told:
            _say(done - told)
            told = done


def _say(values: Any) -> None:
    with _line:
        sys.stdout.write(f"{json.dumps(values)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
