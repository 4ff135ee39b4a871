"""The distributed lock and its fencing number, on a real Valkey."""

import pytest

from flashsale.core.errors import Unavailable
from flashsale.core.lock import FencedLock, FencedLocks, LockHeld
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
    first = late.acquire()
    gate_client().delete("fs:lock:{x}")  # its life is over
    fence = fresh.acquire()

    assert not late.release()
    assert lock().acquire() is None
    assert fresh.release()
    assert fence > first


def test_fences_go_on_rising_when_redis_has_lost_them():
    with lock() as before:
        pass
    gate_client().flushall()

    with lock() as after:
        assert after > before


def test_of_many_locks_those_that_are_free_are_taken_and_can_be_prolonged():
    names = ["x", "y", "z"]
    with lock(), FencedLocks(gate_client(), names, ttl_ms=5_000) as locks:
        assert list(locks.fences) == ["y", "z"]
        gate_client().pexpire("fs:lock:{y}", 100)
        gate_client().set("fs:lock:{z}", "another")
        locks._prolonged_at = 0.0  # a third of their life is over

        locks.prolong()

        assert gate_client().pttl("fs:lock:{y}") > 4_000
    assert gate_client().get("fs:lock:{z}") == "another"
    assert not gate_client().exists("fs:lock:{y}")


def test_a_redis_that_goes_away_meanwhile_is_unavailable_and_hides_no_error_of_the_work(stack):
    server = stack.servers["REDIS_URL"]
    try:
        with pytest.raises(ZeroDivisionError), lock() as fence:  # noqa: PT012 - the server dies in the middle of it
            server.kill()
            1 / (fence - fence)
        with pytest.raises(Unavailable), lock():
            pass
    finally:
        server.start()
