"""The model and the product side by side, and the order of the pieces against the real tasks."""

import time

import pytest
from django.db import connection

from flashsale.core.redis_client import gate_client
from tests.simulation.paired import real_run
from tests.simulation.scheduler import FOCUS, plan_of, what_breaks

pytestmark = pytest.mark.django_db(transaction=True)
_SECONDS = 15
_LEAST = 5  # however busy the machine is


@pytest.fixture
def hasty_servers(clean_redis):
    """Nothing dies here but what the scheduler ends: no step waits for a disk."""
    client = gate_client()
    before = client.config_get("appendfsync")["appendfsync"]
    client.config_set("appendfsync", "no")
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
    yield
    client.config_set("appendfsync", before)
    connection.close()


def test_the_product_does_what_the_model_does_step_by_step(hasty_servers):
    deadline = time.monotonic() + _SECONDS
    seed = 0
    while seed < _LEAST or time.monotonic() < deadline:
        focus = ("", *FOCUS)[seed % (1 + len(FOCUS))]
        broken = what_breaks(real_run(plan_of(seed, focus=focus)))
        assert broken is None, f"{broken}: python -m tests.simulation --tier real --seed {seed} --focus '{focus}'"
        seed += 1
    print(f"{seed} seeds on the product")
