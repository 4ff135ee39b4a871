"""What was lost with the gate's disk ends as rejected, once and for all; what was not acknowledged or is not ours stays 404."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta

import pytest
from django.db import OperationalError, connection

from flashsale.core.clock import now
from flashsale.core.ids import new_order_id
from flashsale.core.redis_client import gate_client
from inventory.admission import gate, keys, new_gates
from inventory.errors import ConcurrentReservation
from inventory.models import Sale
from orders import order_ids, placement, services
from orders.models import EffectBatch, Intake, Order, OrderEvent
from tasks import sweeps
from tasks.models import DeadLetter
from tasks.repair import gate_sync
from tasks.repair.audit import audit
from tasks.steps import gate_effects
from tests.conftest import client_of, keep_asleep

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def given_up_at_once(settings):
    settings.LOST_ORDER_AFTER_S = 0


@pytest.fixture
def gate_server(stack):
    return stack.servers["REDIS_URL"]


def lose_disk(server, *, keep=None):
    server.kill()
    data = server.folder / server.name
    if keep:
        shutil.copytree(data, keep)
    shutil.rmtree(data)
    server.start()


def bring_back(server, kept):
    server.kill()
    shutil.rmtree(server.folder / server.name)
    shutil.copytree(kept, server.folder / server.name)
    server.start()


def view(api, order_id, part=""):
    return api.get(f"/api/v1/orders/{order_id}/{part}")


def test_an_order_lost_with_the_gates_disk_ends_as_rejected(make_item, customer, order, api, gate_server):
    item = make_item(units=5)
    keep_asleep(item)
    order_id = order(item, customer, units=1).order_id

    lose_disk(gate_server)
    in_doubt = view(api, order_id)
    gate_sync.refresh_gates()
    answers = [view(api, order_id) for _ in range(2)]

    assert (in_doubt.status_code, in_doubt["Retry-After"], in_doubt.json()["code"]) == (503, "1", "unavailable")
    assert answers[0].json() == answers[1].json()
    seen = answers[0].json()
    assert (seen["status"], seen["reason"], seen["sku"], seen["expires_at"] is not None) == ("rejected", "lost", "thing", True)
    assert (seen["quantity"], seen["total"], seen["source"], seen["seq"], seen["payment"]) == (0, "0.00", "", "", None)
    assert [(event["status"], event["reason"]) for event in seen["history"]] == [("queued", ""), ("rejected", "lost")]
    assert [each["id"] for each in api.get("/api/v1/orders/").json()] == [str(order_id)]
    after = gate.snapshot(item.pk)
    assert (after.stock, after.held, after.buyers) == (5, {}, {})
    assert audit().is_clean


def test_a_lost_order_whose_customer_is_gone_as_well_ends_for_good(make_item, customer, order, gate_server):
    item = make_item(units=5)
    keep_asleep(item)
    order_id = order(item, customer, units=1).order_id
    gone = customer.pk
    customer.delete()

    lose_disk(gate_server)
    gate_sync.refresh_gates()
    first = placement.order_of(gone, order_id)  # over HTTP nobody asks any more: the account is denied
    Intake.objects.update(created_at=now() - timedelta(minutes=5))
    sweeps.run_all()

    assert (first["status"], first["reason"]) == ("rejected", "lost")
    assert placement.order_of(gone, order_id) == first
    assert not DeadLetter.objects.exists()
    report = audit()
    assert (report.is_clean, report.in_flight) == (True, 0)


def test_a_lost_order_can_be_neither_paid_nor_cancelled_seen_before_or_not(make_item, customers, order, gate_server):
    item = make_item(units=5)
    keep_asleep(item)
    buyers = customers(2)
    lost = [(client_of(buyer), order(item, buyer).order_id) for buyer in buyers]
    lose_disk(gate_server)
    gate_sync.refresh_gates()

    for _ in range(2):
        paid = lost[0][0].post(f"/api/v1/orders/{lost[0][1]}/pay/", {"payment_method": "pm_ok"}, format="json")
        cancelled = lost[1][0].post(f"/api/v1/orders/{lost[1][1]}/cancel/", {}, format="json")

        assert (paid.status_code, paid.json()["code"]) == (409, "not_payable")
        assert (cancelled.status_code, cancelled.json()["code"]) == (409, "not_cancellable")
    assert list(Order.objects.values_list("status", "reason")) == [("rejected", "lost")] * 2


def test_an_id_that_was_not_told_to_this_customer_stays_404(make_item, customers, order, gate_server):
    item = make_item(units=5)
    keep_asleep(item)
    owner, stranger = customers(2)
    order_id = order(item, owner).order_id
    lose_disk(gate_server)
    gate_sync.refresh_gates()

    assert view(client_of(stranger), order_id).status_code == 404
    assert view(client_of(owner), new_order_id(item.pk)).status_code == 404
    assert not Order.objects.exists()


def test_the_same_purchase_can_be_made_again_with_a_new_token(make_item, customer, order, api, gate_server):
    item = make_item(units=5)
    keep_asleep(item)
    token = gate.issue_token(item.pk, customer.pk).token
    first = order(item, customer, token=token, seq="mine").order_id
    lose_disk(gate_server)
    gate_sync.refresh_gates()
    body = {"token": token, "sku": "thing", "quantity": 1, "source": "shop", "seq": "mine", "payment_method": "pm_ok"}

    repeated = api.post("/api/v1/orders/", body, format="json")
    fresh = gate.issue_token(item.pk, customer.pk).token
    again = api.post("/api/v1/orders/", body | {"token": fresh}, format="json")

    assert (repeated.status_code, repeated.json()["code"]) == (403, "token_invalid")
    assert again.status_code == 202
    assert again.json()["id"] != str(first)
    assert view(api, first).json()["reason"] == "lost"


def test_a_repetition_is_not_refused_while_the_ledger_is_away_that_may_know_it(make_item, customer, order, api, gate_server):
    item = make_item(units=5)
    token = gate.issue_token(item.pk, customer.pk).token
    first = order(item, customer, token=token, seq="mine").order_id
    settle(item)
    lose_disk(gate_server)
    gate_sync.refresh_gates()
    body = {"token": token, "sku": "thing", "quantity": 1, "source": "shop", "seq": "mine", "payment_method": "pm_ok"}

    with connection.execute_wrapper(away):
        in_doubt = api.post("/api/v1/orders/", body, format="json")
    repeated = api.post("/api/v1/orders/", body, format="json")

    assert (in_doubt.status_code, in_doubt.json()["code"], in_doubt["Retry-After"]) == (503, "unavailable", "1")
    assert (repeated.status_code, repeated.json()["id"], repeated["Idempotency-Replayed"]) == (202, str(first), "true")


def away(*_):
    raise OperationalError("the ledger is away")


def settle(item):
    entries = gate.claim(item.pk, consumer="test", limit=10, in_flight=10).entries
    services.deduct(item.pk, [order for _, order in entries])
    services.create([order.id for _, order in entries])


@pytest.mark.parametrize("case", ["away", "rebuilding", "missing", "held", "young"])
def test_nothing_is_given_up_while_it_cannot_be_known(make_item, customer, order, api, gate_server, settings, case):
    item = make_item(units=5)
    keep_asleep(item)
    order_id = order(item, customer).order_id
    gate_client().delete(keys.queued(item.pk))
    if case != "held":
        gate_client().delete(keys.held(item.pk), keys.admitted(item.pk))
    if case == "rebuilding":
        assert new_gates.begin({item.pk: 9 * 10**15})
    if case == "missing":
        gate_client().delete(keys.meta(item.pk))
    if case == "young":
        settings.LOST_ORDER_AFTER_S = 60
    if case == "away":
        gate_server.stop()

    try:
        answer = view(api, order_id)
    finally:
        if case == "away":
            gate_server.start()

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert not Order.objects.exists()


def test_order_of_an_ended_sale_without_a_gate_ends(make_item, customer, order, api, gate_server):
    item = make_item(units=5)
    keep_asleep(item)
    order_id = order(item, customer).order_id
    lose_disk(gate_server)
    Sale.objects.update(opens_at=now() - timedelta(days=3), closes_at=now() - timedelta(days=2))

    assert view(api, order_id).json()["reason"] == "lost"


def test_an_entry_that_comes_back_from_an_old_disk_stays_lost_and_its_units_return(
    make_item, customer, order, api, gate_server, tmp_path
):
    item = make_item(units=5)
    keep_asleep(item)
    order_id = order(item, customer).order_id
    lose_disk(gate_server, keep=tmp_path / "kept")
    gate_sync.refresh_gates()
    assert view(api, order_id).json()["reason"] == "lost"

    bring_back(gate_server, tmp_path / "kept")
    assert gate.stocks([item.pk]) == {item.pk: 4}
    entries = gate.claim(item.pk, consumer="c", limit=10, in_flight=10).entries
    for _ in range(2):
        services.deduct(item.pk, [each for _, each in entries])
    gate.ack(item.pk, entries)
    sweeps.run_all()

    assert view(api, order_id).json()["reason"] == "lost"
    item.refresh_from_db()
    assert (item.available, item.reserved) == (5, 0)
    assert gate.stocks([item.pk]) == {item.pk: 5}
    assert gate.snapshot(item.pk).buyers == {}
    assert audit().is_clean


def test_a_batch_that_arrives_after_its_order_was_given_up_takes_no_units(make_item, customer, order, api, gate_server):
    item = make_item(units=5)
    keep_asleep(item)
    order_id = order(item, customer).order_id
    batch = [each for _, each in gate.claim(item.pk, consumer="c", limit=10, in_flight=10).entries]
    lose_disk(gate_server)
    gate_sync.refresh_gates()
    assert view(api, order_id).json()["reason"] == "lost"

    services.create(services.deduct(item.pk, batch))

    item.refresh_from_db()
    assert (item.available, item.reserved, Intake.objects.count()) == (5, 0, 0)
    assert list(Order.objects.values_list("pk", "reason")) == [(order_id, "lost")]


@pytest.mark.slow
def test_an_order_is_either_lost_or_taken_over_whoever_comes_first(make_item, customers, order):
    item = make_item(units=60)
    keep_asleep(item)
    buyers = customers(60)
    for buyer in buyers:
        order(item, buyer)
    batch = [each for _, each in gate.claim(item.pk, consumer="c", limit=100, in_flight=100).entries]
    start = threading.Barrier(3)

    def lose(some):
        start.wait()
        for each in some:
            services.lose(each.id, each.customer, item.pk, now())

    def take_over():
        start.wait()
        for each in batch:
            for _ in range(20):
                with suppress(ConcurrentReservation):
                    services.create(services.deduct(item.pk, [each]))
                    break

    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(lose, batch[::-1]), pool.submit(lose, batch[1::2]), pool.submit(take_over)]
        [job.result() for job in jobs]

    item.refresh_from_db()
    kept = Order.objects.filter(status="reserved").count()
    assert (Order.objects.count(), Order.objects.filter(reason="lost").count()) == (60, 60 - kept)
    assert (item.reserved, Intake.objects.count()) == (kept, 0)
    assert OrderEvent.objects.count() == 120
    gate_effects.apply()
    assert not EffectBatch.objects.exists()
    assert audit().is_clean


def test_an_id_sealed_with_the_secret_before_is_still_recognised(settings):
    told = order_ids.new(7, 1)

    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another secret"

    assert order_ids.was_told(told, 1)
    settings.SECRET_KEY_FALLBACKS = []
    assert not order_ids.was_told(told, 1)


def test_an_admitted_order_has_a_sealed_id(make_item, customer, order):
    assert order_ids.was_told(order(make_item(), customer).order_id, customer.pk)
