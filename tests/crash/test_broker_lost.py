"""Every message of the broker is lost under load: the sweeps drive everything on."""

import shutil

import pytest
import redis
from django.conf import settings

from tests.conftest import eventually
from tests.crash.crowd import Crowd
from tests.crash.scene import open_sale
from tests.crash.settled import assert_all_paid

pytestmark = pytest.mark.django_db(transaction=True)


def flushed(_server):
    with redis.Redis.from_url(settings.CELERY_BROKER_URL) as client:
        client.flushall()


def restarted_empty(server):
    server.kill()
    shutil.rmtree(server.folder / server.name)
    server.start()


@pytest.mark.parametrize("lose", [flushed, restarted_empty])
def test_sweeps_drive_everything_on_when_all_messages_are_lost(lose, live_url, workers, sweeper, stack):
    broker = stack.servers["CELERY_BROKER_URL"]
    sale = open_sale("broker", customers=500, units=500)

    with Crowd(live_url, sale) as crowd:
        for _ in range(3):
            admitted = len(crowd.acknowledged)
            eventually(lambda start=admitted: len(crowd.acknowledged) > start + 20)
            lose(broker)

    assert crowd.faults() == ({}, [])
    assert_all_paid(sale, crowd.acknowledged)
