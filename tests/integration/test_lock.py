"""The distributed lock and its fencing number, on a real Valkey."""

import pytest

from flashsale.core.lock import FencedLock, LockHeld
from flashsale.core.redis_client import gate_client

pytestmark = pytest.mark.django_db(transaction=True)


def lock(ttl_ms=5_000):
    return FencedLock(gate_client(), "x", ttl_ms=ttl_ms)


def test_only_one_holds_the_lock_and_each_holder_gets_a_higher_fence():
    with lock() as first, pytest.raises(LockHeld), lock():
        pass
    with lock() as second:
        assert second > first


def test_a_holder_past_its_life_cannot_give_up_the_next_ones_lock():
    late, fresh = lock(), lock()
    late.acquire()
    gate_client().delete("fs:lock:{x}")  # its life is over
    fence = fresh.acquire()

    assert not late.release()
    assert lock().acquire() is None
    assert fresh.release()
    assert fence == 2
