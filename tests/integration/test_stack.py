"""What `make up` promises of its processes."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from flashsale.stack.keep import LAUNCHER_PID
from flashsale.stack.servers import free_port
from tests.conftest import ROOT, eventually

KEEP = (sys.executable, "-m", "flashsale.stack", "keep", "--")


@pytest.fixture
def launcher():
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def keep(*command, launcher):
    return subprocess.Popen([*KEEP, *command], cwd=ROOT, env=os.environ | {LAUNCHER_PID: str(launcher.pid)})


def test_a_launcher_killed_outright_leaves_no_process_behind(launcher):
    keeper = keep("sleep", "600", launcher=launcher)
    (kept,) = eventually(lambda: [each for each in psutil.Process(keeper.pid).children() if each.name() == "sleep"])

    launcher.kill()
    launcher.wait()

    assert keeper.wait(15) == 0
    assert not kept.is_running()


@pytest.mark.slow
def test_a_process_that_dies_while_its_launcher_lives_is_started_again(launcher, tmp_path):
    starts = Path(tmp_path / "starts")
    keeper = keep("sh", "-c", f"echo started >> {starts}", launcher=launcher)

    eventually(lambda: starts.exists() and starts.read_text().count("started") >= 2)

    assert keeper.poll() is None
    keeper.terminate()
    assert keeper.wait(15) == 0


@pytest.mark.parametrize(
    ("port", "said"), [("0", "not a port"), ("-1", "not a port"), ("70000", "not a port"), ("web", "not a port")]
)
def test_a_port_that_is_none_is_said_in_one_line(port, said, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "flashsale.stack", "up"],
        cwd=ROOT,
        env=os.environ | {"FLASHSALE_VAR": str(tmp_path), "WEB_PORT": port},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 1
    assert done.stderr.strip() == f"flashsale: WEB_PORT={port} is {said} number"


def test_no_outgoing_connection_can_take_a_port_that_is_meant_for_a_server():
    first, _ = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())

    assert all(1024 <= free_port() < first for _ in range(50))


def test_a_port_that_is_in_use_is_not_free():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()

        assert taken.getsockname()[1] not in {free_port() for _ in range(50)}
