"""A holder of the rebuild lock that was stopped past the lock's life wakes up: its write is refused."""

import os
import signal
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from flashsale.core.redis_client import gate_client
from inventory.admission import gate, keys
from tests.conftest import Process, eventually
from tests.crash.crowd import Crowd
from tests.crash.scene import open_sale
from tests.crash.settled import assert_all_paid

pytestmark = pytest.mark.django_db(transaction=True)
UNITS = 30


@contextmanager
def stopped_rebuild(sale, at):
    """A process that rebuilds the sale's gate and is stopped before ``at``, with the lock in its hands."""
    evidence = Path(tempfile.mkdtemp(prefix="fence-")) / "stopped"
    env = {"CRASH_POINT": at, "CRASH_EVIDENCE": str(evidence), "CRASH_SIGNAL": "STOP"}
    gate_client().hset(keys.meta(sale.item), "sold", 7)  # the drift that it is to mend
    process = Process("holder", "python", "-m", "tests.crash.armed", "reconcile", "--sale", sale.slug, **env)
    try:
        eventually(lambda: evidence.exists() and _is_stopped(process), within=20, what=process.text)
        yield process
    finally:
        if process.popen.poll() is None:
            process.kill()


def _is_stopped(process):
    return Path(f"/proc/{process.popen.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"


def _end_the_locks_life():
    """As if the stop had lasted longer than the lock."""
    for key in gate_client().scan_iter("fs:lock:*"):
        gate_client().pexpire(key, 1)
    eventually(lambda: not list(gate_client().scan_iter("fs:lock:*")))


@pytest.mark.parametrize("at", ["inventory.admission.new_gates:begin", "inventory.admission.new_gates:open_gates"])
def test_a_holder_stopped_past_its_locks_life_cannot_write(at, live_url, workers, request):
    sale = open_sale("fence", customers=100, units=UNITS)
    with stopped_rebuild(sale, at) as holder:
        _end_the_locks_life()
        if at.endswith("begin"):
            assert not gate.snapshot(sale.item).rebuilding
            gate_client().hset(keys.meta(sale.item), "rebuilding", "0")  # half made by somebody else: the sweeps rebuild it
        assert gate.snapshot(sale.item).rebuilding
        request.getfixturevalue("sweeper")
        eventually(lambda: (seen := gate.snapshot(sale.item)) and not seen.rebuilding and seen.sold == 0)
        with Crowd(live_url, sale) as crowd:
            eventually(lambda: len(crowd.acknowledged) >= 10)
            os.killpg(holder.popen.pid, signal.SIGCONT)
            assert holder.popen.wait(15) == 0, holder.text()
            eventually(lambda: gate.stocks([sale.item]) == {sale.item: 0})

    assert len(crowd.acknowledged) == UNITS
    assert crowd.faults() == ({}, [])
    assert_all_paid(sale, crowd.acknowledged)
