"""Drift is reported with its likely cause before it is mended, a mend is written down, and it is safe while a sale runs."""

import io
import threading
from contextlib import suppress

import pytest
from django.core.management import call_command
from django.db import connection

from flashsale.core.errors import FlashsaleError
from flashsale.core.redis_client import gate_client
from inventory.admission import gate, keys
from inventory.errors import SoldOut
from orders import services
from orders.models import Order
from tasks.models import GateMend
from tasks.repair.audit import audit
from tasks.repair.rebuild import Why, rebuild_gate
from tests.conftest import eventually, keep_asleep

pytestmark = pytest.mark.django_db(transaction=True)


def run(*arguments):
    out = io.StringIO()
    call_command("reconcile", *arguments, stdout=out)
    return out.getvalue()


def hold_of(item, order_id, value=None):
    if value is None:
        gate_client().hdel(keys.held(item.pk), str(order_id))
    else:
        gate_client().hset(keys.held(item.pk), str(order_id), value)


@pytest.fixture
def pending(make_item, customer, order):
    """An item with one order that waits for its payment; gate and ledger equal."""
    item = make_item(units=5)
    keep_asleep(item)
    order_id = order(item, customer, method="").order_id
    entries = gate.claim(item.pk, consumer="c", limit=10, in_flight=10).entries
    services.create(services.deduct(item.pk, [each for _, each in entries]))
    gate.ack(item.pk, entries)
    services.request_payments([order_id])
    return item, order_id


PLANTED = {
    "gate missing: Redis lost it, or it was not created yet": lambda item, _: gate_client().delete(keys.meta(item.pk)),
    "a rebuild is running or was interrupted": lambda item, _: gate_client().hset(keys.meta(item.pk), "rebuilding", 1),
    "gate has 3 units more than PostgreSQL": lambda item, _: gate_client().incrby(keys.stock(item.pk), 3),
    "gate has 2 units fewer than PostgreSQL": lambda item, _: gate_client().decrby(keys.stock(item.pk), 2),
    "holds without an order: 1": lambda item, _: hold_of(item, "0191c7a0-0000-7000-8000-000000000000", "1:1"),
    "orders without a hold: 1": lambda item, order_id: hold_of(item, order_id),
    "customers with different unit counts: 1": lambda item, _: gate_client().hset(keys.buyers(item.pk), 77, 1),
    "gate has terms version 1, PostgreSQL has 3": lambda item, _: (
        gate_client().hset(keys.meta(item.pk), "version", 1),
        gate_client().incr(keys.stock(item.pk)),
    ),
}


@pytest.mark.parametrize("cause", PLANTED)
def test_a_planted_drift_is_named_reported_without_a_change_and_mended(pending, cause):
    item, order_id = pending
    PLANTED[cause](item, order_id)
    assert not audit().is_clean
    before, mends = gate_client().hgetall(keys.meta(item.pk)), GateMend.objects.count()

    said = run("--dry-run")

    assert cause in said
    assert "differs" in said
    assert gate_client().hgetall(keys.meta(item.pk)) == before
    assert GateMend.objects.count() == mends
    assert "rebuilt" in run()
    assert run() == run("--dry-run")
    assert audit().is_clean
    seen = gate.snapshot(item.pk)
    assert (seen.stock, list(seen.held)) == (4, [order_id])


def test_a_mend_is_written_down_with_the_numbers_before_and_after(pending):
    item, _ = pending
    gate_client().incrby(keys.stock(item.pk), 3)

    run()

    mend = GateMend.objects.latest("pk")
    assert (mend.item_id, mend.actor, mend.before, mend.after) == (item.pk, "manage.py reconcile", "7 / 1 / 0", "4 / 1 / 0")
    assert "gate has 3 units more than PostgreSQL" in mend.cause
    assert mend.fence > 0


def test_what_is_in_flight_explains_a_difference_and_is_not_mended_unasked(pending, customers, order):
    item, _ = pending
    keep_asleep(item)
    order(item, customers(1)[0], method="")
    gate_client().incrby(keys.stock(item.pk), 1)

    said = run()

    assert "in flight: in flight" in said
    assert "may be explained by 1 orders and effects in flight" in said
    assert gate.stocks([item.pk]) == {item.pk: 4}
    run("--force")
    assert gate.stocks([item.pk]) == {item.pk: 3}
    assert len(gate.snapshot(item.pk).held) == 2


def test_effects_that_were_not_applied_are_named(pending, customer):
    _, order_id = pending
    services.cancel(order_id, customer.pk)

    assert "effects not applied yet: 1" in run("--dry-run")


def test_an_equal_gate_is_left_alone(pending):
    mends = GateMend.objects.count()

    assert "equal" in run()

    assert GateMend.objects.count() == mends


def test_a_sweeps_rebuild_of_a_lost_gate_is_in_the_history(pending, sweeper):
    item, _ = pending
    gate_client().flushall()

    eventually(lambda: gate.versions([item.pk])[item.pk], within=8)

    mend = eventually(lambda: GateMend.objects.filter(cause__startswith="gate missing").first())
    assert (mend.actor, mend.before, mend.after) == ("", "missing", "4 / 1 / 0")


def buy_until(stop, order, item, sku, buyer, lane):
    token = None
    for number in range(100_000):
        try:
            token = token or gate.issue_token(item.pk, buyer.pk).token
            order(item, buyer, sku=sku, seq=f"{lane}-{number}", token=token)
            token = None
        except SoldOut:
            if stop.wait(0.05):
                break
        except FlashsaleError:  # paused, for a moment
            stop.wait(0.002)
    connection.close()


def rebuild_until(stop, item, failures):
    while not stop.wait(0.02):
        try:
            with suppress(FlashsaleError):
                rebuild_gate(item.pk, why=Why("test", "test"))
        except Exception as error:
            failures.append(error)
            break
    connection.close()


def test_reconciling_while_the_sale_runs_neither_oversells_nor_loses_a_unit(workers, sweeper, make_item, customers, order):
    """Threads buy, workers claim, deduct and charge, and the gate is rebuilt all the while."""
    item = make_item(units=300, per_customer=300)
    buyers, stop, sku, failures = customers(3), threading.Event(), item.product.sku, []
    shoppers = [(stop, order, item, sku, buyer, lane) for lane, buyer in enumerate(buyers)]
    threads = [threading.Thread(target=buy_until, args=arguments) for arguments in shoppers]
    threads.append(threading.Thread(target=rebuild_until, args=(stop, item, failures)))
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: Order.objects.filter(status="paid").count() == 300, within=60, what=lambda: Order.objects.count())
    finally:
        stop.set()
        for thread in threads:
            thread.join()

    assert failures == []
    assert GateMend.objects.filter(actor="test", in_flight__gt=0).count() >= 3
    report = eventually(lambda: (r := audit()) and not r.in_flight and r)
    assert report.is_clean, [check for check in report.checks if check.breaches]
    item.refresh_from_db()
    assert (item.available, item.reserved, item.sold) == (0, 0, 300)
    assert set(Order.objects.values_list("status", flat=True)) == {"paid"}


def test_staff_see_gate_and_ledger_side_by_side_and_mend(admin_client, pending):
    item, _ = pending
    gate_client().incrby(keys.stock(item.pk), 3)
    url = f"/admin/inventory/saleitem/{item.pk}/gate-and-ledger/"

    shown = admin_client.get(url).content.decode()
    mended = admin_client.post(url, follow=True).content.decode()

    assert "gate has 3 units more than PostgreSQL" in shown
    assert "the gate was rebuilt from the ledger" in mended
    assert "Equal" in mended
    assert gate.stocks([item.pk]) == {item.pk: 4}
    mend = GateMend.objects.latest("pk")
    assert (mend.actor, mend.before) == ("admin", "7 / 1 / 0")
    history = admin_client.get("/admin/tasks/gatemend/").content.decode()
    assert "7 / 1 / 0" in history
    assert admin_client.post("/admin/tasks/gatemend/add/").status_code == 403


def test_staff_without_the_permission_see_no_such_page(client, pending, django_user_model):
    item, _ = pending
    staff = django_user_model.objects.create(username="viewer", is_staff=True)
    client.force_login(staff)

    assert client.post(f"/admin/inventory/saleitem/{item.pk}/gate-and-ledger/").status_code == 403
