"""Gates that were lost, are wrong, or are put in place too late: what the ledger knows better reaches them."""

import threading

import pytest
from django.db import connection, transaction

from flashsale.core.redis_client import gate_client
from inventory import selectors
from inventory import services as inventory
from inventory.admission import gate, keys, new_gates
from inventory.admission.codes import EffectCode
from inventory.errors import TermsChanged
from inventory.models import SaleItem
from orders import services
from orders.models import Intake, Order
from tasks.repair import gate_sync
from tasks.repair import rebuild as rebuilding
from tasks.repair.audit import audit
from tasks.steps import gate_effects
from tests.conftest import eventually

# A worker that another test has left running would claim what these tests claim.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_workers")]


def claimed(item):
    gate_client().hset(keys.meta(item.pk), "awake_until", 9_999_999_999_999_999)
    return [order for _, order in gate.claim(item.pk, consumer="c", limit=10, in_flight=10).entries]


def lose_gate(item):
    gate_client().flushall()
    gate_sync.refresh_gates([item.pk])


def test_an_order_claimed_before_the_gate_was_lost_is_known_to_the_next_gate(make_item, customer, order):
    item = make_item(units=3)
    admission = order(item, customer)
    batch = claimed(item)
    lose_gate(item)
    assert gate.stocks([item.pk]) == {item.pk: 3}

    services.deduct(item.pk, batch)
    gate_effects.apply()

    seen = gate.snapshot(item.pk)
    assert (seen.stock, seen.held, seen.buyers) == (2, {admission.order_id: (customer.pk, 1)}, {customer.pk: 1})


@pytest.mark.parametrize("first", [0, 1])
def test_nobody_gets_more_than_the_limit_because_a_gate_was_lost(make_item, customer, order, first):
    item = make_item(units=3, per_customer=1)
    order(item, customer)
    batches = [claimed(item)]
    lose_gate(item)
    order(item, customer)
    batches.append(claimed(item))

    for batch in (batches[first], batches[1 - first]):
        services.deduct(item.pk, batch)
        services.create([each.id for each in batch])
    gate_effects.apply()

    assert sorted(Order.objects.values_list("status", "reason")) == [("rejected", "limit_per_customer"), ("reserved", "")]
    item.refresh_from_db()
    assert (item.available, item.reserved) == (2, 1)
    assert gate.snapshot(item.pk).buyers == {customer.pk: 1}


def test_order_larger_than_the_stock_loses_no_unit(make_item, customer, order):
    item = make_item(units=1, per_customer=2)
    gate_client().set(keys.stock(item.pk), 2)
    order(item, customer, units=2)
    batch = claimed(item)
    rebuilding.rebuild_gate(item.pk)

    services.deduct(item.pk, batch)
    gate.ack(item.pk, gate.steal(item.pk, consumer="c", idle_ms=0, limit=10).entries)
    services.create([each.id for each in batch])
    gate_effects.apply()

    assert Order.objects.get().reason == "sold_out"
    assert gate.stocks([item.pk]) == {item.pk: 1}
    assert audit().is_clean


def test_a_claim_decided_on_twice_at_once_leaves_no_reservation_behind(make_item, customer, order):
    """The first has no units for it; before the second, who came at the same time, goes on, there are some again."""
    item = make_item(units=1)
    order(item, customer)
    batch = claimed(item)
    SaleItem.objects.filter(pk=item.pk).update(available=0, reserved=1)
    second = threading.Thread(target=in_thread, args=(lambda: services.deduct(item.pk, batch),))

    with transaction.atomic():
        services.deduct(item.pk, batch)
        second.start()
        eventually(lambda: somebody_waits(), what="the second waits for the item's row")
        SaleItem.objects.filter(pk=item.pk).update(available=1, reserved=0)
    second.join()

    item.refresh_from_db()
    assert (item.available, item.reserved) == (1, 0)
    assert Intake.objects.get().reason == "sold_out"


def in_thread(function):
    try:
        function()
    finally:
        connection.close()


def somebody_waits():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # or a transaction sees the same for ever
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")
        return cursor.fetchone()[0]


def test_a_gate_is_not_opened_when_what_was_staged_for_it_is_gone(make_item, customer, order):
    item = make_item(units=3)
    order(item, customer)
    fence = 9 * 10**15
    new_gates.begin({item.pk: fence})
    made = rebuilding.stage([item.pk], {item.pk: fence}, rebuilding.streamed_orders([item.pk]), lambda: None)
    gate_client().delete(*gate_client().scan_iter("*:staged:*"))

    assert new_gates.open_gates([made[item.pk].gate]) == {item.pk: EffectCode.FENCED}

    gate_client().hset(keys.meta(item.pk), "fence", 0)
    gate_sync.refresh_gates([item.pk])
    assert len(gate.snapshot(item.pk).held) == 1


def test_units_that_the_gate_has_again_are_not_taken_from_the_ledger(make_item):
    item = make_item(units=3)
    version = SaleItem.objects.get().gate_version
    gate.withhold(item.pk, 2)

    gate_sync.refresh_gates([item.pk])  # whoever withheld them was stopped for longer than the lock lives
    with pytest.raises(TermsChanged):
        inventory.adjust_stock(item_id=item.pk, units=-2, actor="late", reason="", gate_version=version)

    item.refresh_from_db()
    assert (item.available, gate.stocks([item.pk])) == (3, {item.pk: 3})


def test_terms_that_were_read_before_the_gate_changed_are_not_brought_to_it(make_item):
    item = make_item(units=3)
    seen = gate.versions([item.pk])[item.pk]
    gate.withhold(item.pk, 1)
    [terms] = selectors.terms([item.pk])

    assert gate.configure(terms, seen) is EffectCode.FENCED
    assert gate.stocks([item.pk]) == {item.pk: 2}
