"""SIGTERM under load: every process ends within 15 s, no order is lost, no client is left without its answer."""

import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from flashsale.stack.servers import free_port
from tests.conftest import Process, _answers, eventually, running, start_worker, start_workers
from tests.crash.crowd import Crowd
from tests.crash.scene import open_sale
from tests.crash.settled import assert_all_paid

pytestmark = pytest.mark.django_db(transaction=True)
GRACE_S = 15
CELERY = ("celery", "-A", "flashsale")
INTAKE, SETTLE = ["dispatch", "inventory"], ["orders", "payments", "cancellations"]


def start_web(workers=2):
    """The web process as in the Procfile, and its address."""
    port = str(free_port())
    loop = ("--interface", "asginl", "--loop", "uvloop", "--runtime-mode", "st")
    options = (*loop, "--host", "127.0.0.1", "--port", port, "--workers", str(workers))
    more = ("--backlog", "4096", "--no-ws", "--log-level", "warning", "--respawn-failed-workers", "flashsale.asgi:application")
    # On a machine at its limits a new process needs longer to answer than the interval that granian leaves it.
    process = Process("web", "granian", "--respawn-interval", "6", *options, *more)
    eventually(lambda: _answers(f"http://127.0.0.1:{port}/health/live"), within=30, what=process.text)
    return process, f"http://127.0.0.1:{port}"


def _admits_more(crowd):
    start = len(crowd.acknowledged)
    eventually(lambda: len(crowd.acknowledged) > start + 20)


def seconds_to_end(process):
    began = time.monotonic()
    process.popen.send_signal(signal.SIGTERM)
    try:
        process.popen.wait(GRACE_S)
    except subprocess.TimeoutExpired as error:
        family = [(each.name(), each.status(), each.cpu_times()) for each in process.family()]
        process.popen.send_signal(signal.SIGUSR1)  # a worker writes into its log what each of its threads does
        with suppress(subprocess.TimeoutExpired):
            process.popen.wait(1)
        raise AssertionError(f"runs {GRACE_S} s after SIGTERM: {family}\n{process.text()}") from error
    took = time.monotonic() - began
    print(f"SIGTERM: {process.log.name.rsplit('-', 1)[0]} ended after {took:.1f} s")
    return took


def start(name, tmp_path):
    """One process of the Procfile, ready."""
    if name == "beat":
        process = Process(name, *CELERY, "beat", "--schedule", str(tmp_path / "beat"), "--pidfile=", "-l", "INFO")
        eventually(lambda: "Sending due task sweep" in process.text(), within=20, what=process.text)
    elif name == "sweeper":
        process = Process(name, "python", "manage.py", "sweep")
        eventually(lambda: _catches_sigterm(process), within=20)
    elif name == "ratelimit":
        process = Process(name, "python", "manage.py", "ratelimit_service", "--port", str(free_port()))
        eventually(lambda: "rate-limit service is ready" in process.text(), within=20, what=process.text)
    elif name == "flower":
        port = free_port()
        process = Process(name, *CELERY, "flower", "--address=127.0.0.1", f"--port={port}")
        eventually(lambda: _answers(f"http://127.0.0.1:{port}/healthcheck"), within=30, what=process.text)
    else:
        process = start_worker(name, {"intake": INTAKE, "settle": SETTLE}[name], concurrency={"intake": 1, "settle": 2}[name])
    return process


def _catches_sigterm(process):
    status = Path(f"/proc/{process.popen.pid}/status").read_text().splitlines()
    caught = next(line for line in status if line.startswith("SigCgt")).split()[1]
    return int(caught, 16) >> (signal.SIGTERM - 1) & 1


@pytest.mark.parametrize("name", ["intake", "settle", "beat", "sweeper", "ratelimit", "flower"])
def test_sigterm_under_load_ends_a_process_in_time_and_loses_nothing(name, live_url, workers, sweeper, tmp_path):
    sale = open_sale(f"term {name}", customers=2000, units=2000)
    process = start(name, tmp_path)

    with running(process), Crowd(live_url, sale) as crowd:
        eventually(lambda: len(crowd.acknowledged) > 30)
        took = seconds_to_end(process)
        _admits_more(crowd)

    assert took < GRACE_S
    assert process.popen.returncode == 0
    assert crowd.faults() == ({}, [])
    assert_all_paid(sale, crowd.acknowledged)


def test_workers_replaced_one_by_one_under_load_lose_no_order(live_url, sweeper):
    sale = open_sale("deploy", customers=4000, units=4000)
    old = start_workers(("intake1", INTAKE, 1), ("settle1", SETTLE, 2))
    new = []
    try:
        with Crowd(live_url, sale) as crowd:
            for number, (process, queues) in enumerate(zip(old, (INTAKE, SETTLE), strict=True)):
                _admits_more(crowd)
                new.append(start_worker(f"new{number}", queues, 1))
                assert seconds_to_end(process) < GRACE_S
            _admits_more(crowd)
        assert crowd.faults() == ({}, [])
        assert_all_paid(sale, crowd.acknowledged)
    finally:
        for process in [*old, *new]:
            process.stop()


def test_web_processes_replaced_under_load_drop_no_answer(workers, sweeper):
    sale = open_sale("respawn", customers=4000, units=4000)
    web, url = start_web()

    with running(web), Crowd(url, sale) as crowd:
        eventually(lambda: len(crowd.acknowledged) > 30)
        before = _children(web)
        web.popen.send_signal(signal.SIGHUP)
        eventually(lambda: not before & _children(web) and len(_children(web)) == len(before), within=30)
        _admits_more(crowd)

    assert crowd.faults() == ({}, [])
    assert_all_paid(sale, crowd.acknowledged)


def _children(process):
    children = Path(f"/proc/{process.popen.pid}/task/{process.popen.pid}/children").read_text().split()
    return {int(pid) for pid in children if "resource_tracker" not in _command(pid)}


def _command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except FileNotFoundError:
        return ""


def test_sigterm_ends_the_web_process_in_time_and_every_accepted_request_is_answered(workers, sweeper):
    sale = open_sale("term web", customers=4000, units=4000)
    web, url = start_web()

    with running(web), Crowd(url, sale) as crowd:
        eventually(lambda: len(crowd.acknowledged) > 30)
        took = seconds_to_end(web)

    assert took < GRACE_S
    assert not [each for each in crowd.dropped if "ConnectionRefused" not in each]
    assert not [key for key in crowd.statuses if key[1] >= 500]
    assert_all_paid(sale, crowd.acknowledged)
