"""A kept process that is killed comes back alone."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from flashsale.stack import keep
from tests.conftest import eventually

# A process with a worker that does not mind what becomes of it, as a web server has.
_FORKS = "sleep 600 & echo $$ $! >> {log}; wait"
_DEAF = "trap '' TERM; (trap '' TERM; exec sleep 600) & echo $$ $! >> {log}; wait"
_HASTY_KEEP = "import sys; from flashsale.stack import keep; keep._GRACE_S = 1.0; keep.keep(['sh', '-c', sys.argv[1]])"


def alive(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("command", [_FORKS, _DEAF], ids=["an orphan that can be asked", "an orphan that cannot"])
def test_what_a_killed_process_leaves_behind_ends_before_it_is_started_again(tmp_path, command):
    log = tmp_path / "pids"

    def lives():
        return [tuple(map(int, line.split())) for line in log.read_text().splitlines()] if log.exists() else []

    assert keep._GRACE_S < 15  # what the whole stack has
    keeper = subprocess.Popen([sys.executable, "-c", _HASTY_KEEP, command.format(log=log)], stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: len(lives()) == 1, within=10)
        main, orphan = lives()[0]
        os.kill(main, signal.SIGKILL)
        eventually(lambda: len(lives()) == 2, within=10)

        assert not alive(orphan)
        assert all(map(alive, lives()[1]))
    finally:
        keeper.terminate()
        keeper.wait(20)
    assert not any(alive(pid) for life in lives() for pid in life)
