"""A gate that is gone is made anew from the ledger and the stream: for many items at once, exactly, and by one holder only."""

import threading
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection

from flashsale.core.clock import now
from flashsale.core.errors import FlashsaleError
from flashsale.core.lock import FencedLocks, LockHeld
from flashsale.core.redis_client import gate_client
from inventory import catalog, selectors, services
from inventory.admission import gate, keys, new_gates
from inventory.admission.admitted import Piece
from inventory.admission.codes import EffectCode
from inventory.errors import GateMissing, Paused
from orders import services as orders
from orders.models import Order
from tasks import sweeps
from tasks.models import GateMend
from tasks.repair import gate_sync
from tasks.repair.audit import audit
from tasks.repair.drift import drifts
from tasks.repair.rebuild import rebuild_gate
from tasks.steps import gate_effects
from tests.conftest import eventually, keep_asleep

pytestmark = pytest.mark.django_db(transaction=True)
_ORDERS = """
INSERT INTO orders_order (id, customer_id, item_id, sku, quantity, unit_price, currency, source, seq, digest, payment_method,
    status, reason, admitted_at, expires_at)
SELECT uuidv7(), %(customer)s + n %% %(customers)s, i.id, 'x', 1 + n %% 2, 1, 'EUR', 'test', i.id || '-' || n, '', '',
    (ARRAY['reserved', 'pending_payment', 'paid', 'refunded', 'cancelled', 'rejected'])[1 + n %% 6], '', now(),
    now() + interval '1 day'
FROM generate_series(1, %(each)s) n, inventory_saleitem i
"""
_COLUMNS = """
UPDATE inventory_saleitem i SET reserved = o.reserved, sold = o.sold, available = 7, allocated = o.reserved + o.sold + 7
FROM (SELECT item_id, sum(quantity) FILTER (WHERE status IN ('reserved', 'pending_payment')) AS reserved,
    sum(quantity) FILTER (WHERE status IN ('paid', 'refunded')) AS sold FROM orders_order GROUP BY 1) o WHERE o.item_id = i.id
"""


@pytest.fixture
def make_many(customers):
    """Many items, each with orders in every state, by SQL."""

    def make(items, each):
        sale = services.create_sale(
            slug="many",
            name="many",
            opens_at=now() - timedelta(minutes=1),
            closes_at=now() + timedelta(hours=1),
            payment_window=timedelta(hours=1),
        )
        buyers = customers(50)
        made = [
            services.add_item(sale=sale, sku=f"x{n}", name="x", units=1, price=Decimal(1), per_customer=10_000).pk
            for n in range(items)
        ]
        with connection.cursor() as cursor:
            cursor.execute(_ORDERS, {"customer": buyers[0].pk, "customers": 50, "each": each})
            cursor.execute(_COLUMNS)
        return made

    return make


def each(threads, verb):
    for thread in threads:
        getattr(thread, verb)()


@pytest.mark.slow
def test_many_gates_are_rebuilt_at_once_and_each_equals_the_ledger(make_many):
    make_many(items=120, each=24)
    gate_sync.refresh_gates()
    gate_client().flushall()

    gate_sync.refresh_gates()

    found = drifts()
    assert [one.item for one in found if one.differs] == []
    assert {(one.gate_stock, one.gate_held, one.gate_sold) for one in found} == {(7, 12, 12)}
    lines = list(GateMend.objects.values_list("cause", flat=True))
    assert (lines.count("first gate of the item"), lines.count("gate missing, incomplete, or its rebuild was interrupted")) == (
        120,
        120,
    )


@pytest.mark.slow
def test_an_item_with_many_holds_comes_in_pieces_and_whole(make_many):
    [item] = make_many(items=1, each=48_000)

    rebuild_gate(item)

    assert (gate_client().hlen(keys.held(item)), gate_client().hlen(keys.buyers(item))) == (16_000, 50)
    assert not drifts()[0].differs
    assert gate_client().ttl(keys.held(item)) == gate_client().ttl(keys.buyers(item)) == -1


def test_a_rebuild_counts_orders_wherever_they_are(no_workers, make_item, customers, order):
    """One in the stream, one claimed, one in the intake too, one row, one paid, one cancelled."""
    item = make_item(units=20, per_customer=3)
    keep_asleep(item)
    buyers = customers(6)
    ids = []

    def claimed(count):
        some = buyers[len(ids) : len(ids) + count]
        ids.extend([order(item, buyer, units=2, method="").order_id for buyer in some])
        return gate.claim(item.pk, consumer="c", limit=10, in_flight=100).entries

    rows = claimed(3)
    orders.create(orders.deduct(item.pk, [taken for _, taken in rows]))
    gate.ack(item.pk, rows)
    orders.request_payments(ids)
    orders.cancel(ids[0], buyers[0].pk)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE orders_order SET status = 'paid' WHERE id = %s", [str(ids[1])])
    services.sell_units(item_id=item.pk, requests={ids[1]: 2})
    orders.deduct(item.pk, [taken for _, taken in claimed(1)])
    claimed(1)
    order(item, buyers[5], units=2)
    gate_client().delete(keys.meta(item.pk), keys.stock(item.pk), keys.held(item.pk), keys.buyers(item.pk))

    gate_sync.refresh_gates()

    seen = gate.snapshot(item.pk)
    assert (seen.stock, seen.sold, len(seen.held)) == (20 - 2 * 5, 2, 4)
    assert seen.buyers == {buyer.pk: 2 for buyer in buyers[1:6]}
    assert not drifts()[0].differs


def test_effects_wait_for_the_rebuild_and_do_not_keep_other_items_back(make_many):
    first, second = make_many(items=2, each=6)
    gate_sync.refresh_gates()
    pending = Order.objects.filter(status="pending_payment")
    held = {item: list(pending.filter(item=item).values_list("pk", flat=True)) for item in (first, second)}
    new_gates.begin({first: 9 * 10**15})
    for item in (first, second):
        for pk in held[item]:
            orders.cancel_by_staff(pk, "test")

    told = gate_effects.apply()

    assert told == len(held[second]) == 1
    gate_client().hdel(keys.meta(first), "rebuilding")
    assert gate_effects.apply() == 1
    assert not any(one.differs for one in drifts())


def test_a_rebuild_that_was_left_half_done_is_taken_over(make_many):
    [item] = make_many(items=1, each=6)
    gate_sync.refresh_gates()
    dead = FencedLocks(gate_client(), [f"rebuild:{item}"], ttl_ms=50)
    dead.acquire()
    new_gates.begin({item: dead.fences[f"rebuild:{item}"]})
    with pytest.raises(Paused):
        gate.issue_token(item, 1)

    def take_over():
        gate_sync.refresh_gates()
        return gate.versions([item])[item]

    eventually(take_over, within=5)

    assert gate.issue_token(item, 1)
    assert not drifts()[0].differs


def test_a_holder_that_slept_past_its_locks_life_is_refused(make_many):
    [item] = make_many(items=1, each=6)
    gate_sync.refresh_gates()
    name = f"rebuild:{item}"
    sleeper = FencedLocks(gate_client(), [name], ttl_ms=50)
    sleeper.acquire()
    fence = sleeper.fences[name]
    assert new_gates.begin({item: fence}) == {item: True}
    new_gates.stage({item: fence}, [Piece(item, "held", 9, '["x","1:9"]')])
    eventually(lambda: not gate_client().exists(f"fs:lock:{{{name}}}"))
    rebuild_gate(item)
    before = gate.snapshot(item)

    late = new_gates.open_gates([new_gates.NewGate(selectors.terms([item])[0], fence, 999, 0)])

    assert late == {item: EffectCode.FENCED}
    assert gate.snapshot(item) == before
    assert not drifts()[0].differs


def test_a_holder_from_before_the_loss_is_refused_after_it(make_many):
    [item] = make_many(items=1, each=6)
    gate_sync.refresh_gates()
    old = FencedLocks(gate_client(), [f"rebuild:{item}"], ttl_ms=30_000)
    old.acquire()
    gate_client().flushall()
    fresh = FencedLocks(gate_client(), [f"rebuild:{item}"], ttl_ms=30_000)
    fresh.acquire()
    new_gates.begin({item: fresh.fences[f"rebuild:{item}"]})
    [terms] = selectors.terms([item])

    assert new_gates.open_gates([new_gates.NewGate(terms, old.fences[f"rebuild:{item}"], 999, 0)]) == {item: EffectCode.FENCED}


@pytest.mark.slow
def test_two_processes_share_the_items_and_none_is_done_by_both(make_many):
    items = make_many(items=60, each=6)
    start = threading.Barrier(2)

    def work():
        start.wait()
        gate_sync.refresh_gates()
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(2)]
    each(threads, "start")
    each(threads, "join")
    gate_sync.refresh_gates()

    assert all(gate.versions(items).values())
    assert not any(one.differs for one in drifts())


def test_a_locked_item_does_not_keep_the_others_back(make_many):
    items = make_many(items=3, each=6)
    with FencedLocks(gate_client(), [f"rebuild:{items[1]}"], ttl_ms=30_000):
        gate_sync.refresh_gates()
        assert [bool(version) for version in gate.versions(items).values()] == [True, False, True]
        with pytest.raises(LockHeld):
            rebuild_gate(items[1])


def test_customers_hear_paused_and_the_catalog_shows_it_until_the_gate_is_back(make_item, customer, api, sweeper):
    item = make_item(units=5)
    purchase = "/api/v1/sales/drop/items/thing/purchase-tokens/"
    catalog.forget()
    assert api.get("/api/v1/sales/drop/").json()["state"] == "live"
    new_gates.begin({item.pk: 9 * 10**15 - 1})

    with FencedLocks(gate_client(), [f"rebuild:{item.pk}"], ttl_ms=30_000):
        refused = api.post(purchase)
        catalog.forget()
        shown = api.get("/api/v1/sales/drop/").json()
        gate_client().delete(keys.meta(item.pk), keys.stock(item.pk))
        missing = api.post(purchase)

    assert (refused.status_code, refused.json()["code"]) == (missing.status_code, missing.json()["code"]) == (409, "paused")
    assert (shown["state"], shown["items"][0]["remaining"], shown["items"][0]["sold_out"]) == ("paused", 5, False)
    eventually(lambda: api.post(purchase).status_code == 201, within=6)
    catalog.forget()
    assert api.get("/api/v1/sales/drop/").json()["state"] == "live"


def test_an_order_at_a_missing_gate_is_refused_and_burns_nothing(make_item, customer, order):
    item = make_item(units=5)
    token = gate.issue_token(item.pk, customer.pk).token
    gate_client().delete(keys.meta(item.pk), keys.stock(item.pk))

    with pytest.raises(GateMissing):
        order(item, customer, token=token)
    gate_sync.refresh_gates()

    assert not order(item, customer, token=token).replayed


def test_no_acknowledged_order_is_lost_when_the_gate_is_killed_under_load(workers, sweeper, make_item, customers, order, stack):
    item = make_item(units=2_000, per_customer=1_000)
    buyers = customers(4)
    server, stop, acknowledged = stack.servers["REDIS_URL"], threading.Event(), []
    sku = item.product.sku

    def shop(buyer, lane):
        number = 0
        while not stop.is_set():
            number += 1
            try:
                acknowledged.append(order(item, buyer, sku=sku, seq=f"{lane}-{number}").order_id)
            except FlashsaleError:
                stop.wait(0.01)
        connection.close()

    threads = [threading.Thread(target=shop, args=(buyer, lane)) for lane, buyer in enumerate(buyers)]
    each(threads, "start")
    try:
        eventually(lambda: len(acknowledged) >= 60)
        server.kill()
        before = len(acknowledged)
        server.start()
        eventually(lambda: len(acknowledged) >= before + 60)
    finally:
        stop.set()
        each(threads, "join")

    eventually(lambda: Order.objects.filter(pk__in=acknowledged, status="paid").count() == len(acknowledged), within=40)
    report = eventually(lambda: (r := audit()) and not r.in_flight and r)
    assert report.is_clean, [check for check in report.checks if check.breaches]


def test_the_history_of_mends_cannot_be_changed(make_item):
    make_item()
    mend = GateMend.objects.get()

    with pytest.raises(IntegrityError):
        GateMend.objects.update(cause="another")
    with pytest.raises(IntegrityError):
        mend.delete()


def test_a_sweep_that_fails_keeps_no_other_back(make_item, customer, order, stack):
    """With the gate away, the ledger's sweeps go on."""
    item = make_item(units=5)
    keep_asleep(item)
    order(item, customer, method="")
    entries = gate.claim(item.pk, consumer="c", limit=10, in_flight=10).entries
    ids = orders.deduct(item.pk, [taken for _, taken in entries])
    orders.create(ids)
    orders.request_payments(ids)
    Order.objects.update(expires_at=now())
    server = stack.servers["REDIS_URL"]

    server.stop()
    try:
        sweeps.run_all()
    finally:
        server.start()

    assert Order.objects.get().status == "cancelled"
