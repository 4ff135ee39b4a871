"""What the nemesis does to a gate, and what it knows of it, on a real one."""

import pytest

from flashsale.core.redis_client import gate_client
from inventory.admission import gate, keys
from tests.chaos import poison, wreck

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def waiting(make_item, customers, order):
    """An item with three admitted orders that nobody is woken for."""
    item = make_item(units=5)
    gate_client().hset(keys.meta(item.pk), "awake_until", 9_999_999_999_999_999)
    return item, [str(order(item, customer).order_id) for customer in customers(3)]


def test_a_copy_of_the_disk_names_every_order_that_waits_claimed_or_not(waiting, stack, tmp_path):
    item, orders = waiting
    gate.claim(item.pk, consumer="somebody", limit=1, in_flight=10)

    assert wreck.waiting_orders(stack.servers["REDIS_URL"], tmp_path / "copy") == frozenset(orders)
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("way", poison.WAYS)
def test_one_order_that_nobody_has_claimed_is_spoilt(waiting, stack, way):
    item, orders = waiting
    gate.claim(item.pk, consumer="somebody", limit=1, in_flight=10)

    assert poison.spoil_one(stack.servers["REDIS_URL"].url, way) == orders[1]

    lines = [fields["o"] for _, fields in gate_client().xrange(keys.admitted(item.pk))]
    assert [poison.order_in(line) for line in lines] == [orders[0], orders[2], orders[1]]
    claim = gate.claim(item.pk, consumer="somebody", limit=10, in_flight=10)
    assert len(claim.entries) + len(claim.broken) == 2
    assert len(claim.broken) == (way == poison.DISPATCH)


def test_nothing_is_spoilt_where_nobody_waits(make_item, stack):
    make_item(units=5)

    assert poison.spoil_one(stack.servers["REDIS_URL"].url, poison.CREATE) is None
