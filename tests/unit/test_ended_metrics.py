"""What ended processes had counted stays, their files do not."""

import os
import subprocess
import sys

import pytest

COUNT = """
from flashsale.core.metrics import ADMISSIONS, BATCH_ORDERS
ADMISSIONS.labels("admitted").inc(3)
BATCH_ORDERS.observe(7)
"""
SHOW = "from flashsale.core.metrics import exposition; print(exposition().decode())"


def _run(code, folder):
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(folder)}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True, timeout=30
    ).stdout


@pytest.mark.slow
def test_counts_of_ended_processes_are_kept_in_one_file_of_a_kind(tmp_path):
    for turn in (1, 2):
        for _ in range(2):
            _run(COUNT, tmp_path)
        shown = _run(SHOW, tmp_path).splitlines()

        assert f'flashsale_admissions_total{{code="admitted"}} {6.0 * turn}' in shown
        assert f"flashsale_batch_orders_sum {14.0 * turn}" in shown
        assert f'flashsale_batch_orders_bucket{{le="10.0"}} {2.0 * turn}' in shown
        left = {path.name for path in tmp_path.glob("*_*.db")}
        assert {"counter_ended.db", "histogram_ended.db"} <= left
        assert not list(tmp_path.glob("*.folding"))
    of_processes = {name for name in left if name.split("_")[1] != "ended.db"}
    assert len(of_processes) <= 2  # of the one that showed them
