"""What the gate must be told of a batch is one row, and counts once however often and in however many parts it is told."""

from uuid import uuid4

import pytest
from django.db import transaction

from flashsale.core.redis_client import gate_client
from inventory.admission import gate, keys
from inventory.admission.codes import EffectCode
from inventory.errors import GateUnavailable
from orders import holds, services
from orders.models import EffectBatch, GateEffect
from orders.services import outbox
from tasks.steps import gate_effects

pytestmark = pytest.mark.django_db(transaction=True)
SETTLE, RELEASE = GateEffect.Kind.SETTLE, GateEffect.Kind.RELEASE


@pytest.fixture
def sold(no_workers, make_item, customer, order):
    """An item of whose three units the gate holds all, and their orders."""
    item = make_item(units=3, per_customer=3)
    return item, [order(item, customer).order_id for _ in range(3)]


def gate_of(item):
    seen = gate.snapshot(item.pk)
    return seen.stock, seen.sold, len(seen.held)


def test_effects_of_a_batch_are_one_row_for_each_item_and_kind():
    first, second, third = [uuid4() for _ in range(600)], [uuid4() for _ in range(2)], [uuid4()]

    outbox.tell(SETTLE, [(7, pk) for pk in first] + [(8, pk) for pk in second])
    outbox.tell(RELEASE, [(7, pk) for pk in third])

    rows = EffectBatch.objects.order_by("pk").values_list("item_id", "kind", "order_ids")
    assert list(rows) == [(7, "settle", first[:500]), (7, "settle", first[500:]), (8, "settle", second), (7, "release", third)]
    with transaction.atomic():
        found = [(effect.item, effect.kind, effect.orders) for effect in services.lock_effects(100)]
    assert found == [(7, "settle", first), (8, "settle", second), (7, "release", third)]
    assert {item: each.effects for item, each in holds.in_flight([7, 8, 9]).items()} == {7: 601, 8: 2}


def test_a_batch_of_which_a_part_was_told_already_counts_once(sold):
    item, orders = sold
    gate.settle(item.pk, orders[:2])  # by a process that died before it could forget the row
    outbox.tell(SETTLE, [(item.pk, pk) for pk in orders])

    assert gate_effects.apply() == 3

    assert (gate_of(item), EffectBatch.objects.count()) == ((0, 3, 0), 0)


def test_a_batch_that_is_cut_off_half_way_stays_whole_and_is_told_again(sold, monkeypatch):
    item, orders = sold
    outbox.tell(RELEASE, [(item.pk, pk) for pk in orders])
    monkeypatch.setattr(gate_effects, "_ORDERS", 2)
    release = gate.release

    def once(item_id, some, **more):
        if len(some) == 1:
            raise GateUnavailable
        return release(item_id, some, **more)

    with monkeypatch.context() as cut:
        cut.setattr(gate, "release", once)
        with pytest.raises(GateUnavailable):
            gate_effects.apply()
    assert (gate_of(item), EffectBatch.objects.get().order_ids) == ((2, 0, 1), orders)

    assert gate_effects.apply() == 3

    assert (gate_of(item), EffectBatch.objects.count()) == ((3, 0, 0), 0)


def test_a_batch_that_another_process_is_at_is_left_to_it(sold, django_db_blocker):
    import threading

    from django.db import connection

    item, orders = sold
    outbox.tell(RELEASE, [(item.pk, pk) for pk in orders])
    found = []

    def other():
        found.append(gate_effects.apply())
        connection.close()

    with transaction.atomic():
        assert [effect.orders for effect in services.lock_effects(10)] == [orders]
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()

    assert found == [0]
    assert gate_of(item) == (0, 0, 3)
    assert gate_effects.apply() == 3


def test_a_gate_that_is_being_rebuilt_hears_of_the_batch_later(sold):
    item, orders = sold
    outbox.tell(SETTLE, [(item.pk, pk) for pk in orders])
    gate_client().hset(keys.meta(item.pk), "rebuilding", "1")

    assert gate_effects.apply() == 0
    assert EffectBatch.objects.get().order_ids == orders

    gate_client().hdel(keys.meta(item.pk), "rebuilding")
    assert gate_effects.apply() == 3
    assert gate.settle(item.pk, orders) is EffectCode.DONE
    assert gate_of(item) == (0, 3, 0)


def test_effects_that_the_release_before_wrote_are_told_with_the_batches(sold):
    item, orders = sold
    GateEffect.objects.create(order_id=orders[0], item_id=item.pk, kind=SETTLE)
    outbox.tell(SETTLE, [(item.pk, pk) for pk in orders])
    assert holds.in_flight([item.pk])[item.pk].effects == 4

    gate_effects.apply()

    assert (gate_of(item), EffectBatch.objects.count(), GateEffect.objects.count()) == ((0, 3, 0), 0, 0)
