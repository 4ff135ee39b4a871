"""An order that the ledger cannot take is rejected, once and for all, wherever it stands and whoever is at it too."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, transaction

from flashsale.core.clock import now
from flashsale.core.redis_client import gate_client
from inventory.admission import gate, keys
from inventory.errors import ConcurrentReservation, GateMissing
from inventory.models import SaleItem
from orders import placement, services
from orders.models import EffectBatch, Intake, Order, OrderEvent
from tasks import sweeps
from tasks.models import DeadLetter
from tasks.repair import dead_letters, poison
from tasks.repair.audit import audit
from tasks.steps import create_orders, deduct_inventory, gate_effects
from tests.conftest import keep_asleep

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def item(make_item):
    made = make_item(units=5)
    keep_asleep(made)
    return made


def spoil(item, change):
    """Put ``change(line)`` where each line of the stream stands."""
    stream = keys.admitted(item.pk)
    lines = [fields["o"] for _, fields in gate_client().xrange(stream)]
    gate_client().delete(stream)
    for line in lines:
        gate_client().xadd(stream, {"o": change(line)})


def with_values(**values):
    return lambda line: json.dumps(json.loads(line) | values)


def claim(item):
    claimed = gate.claim(item.pk, consumer="c", limit=100, in_flight=100)
    keep_asleep(item)  # a claim ends the wake-up
    return claimed


def batch_of(item):
    return [[entry_id, order.as_payload()] for entry_id, order in claim(item).entries]


def run(item, batch):
    """The steps up to the row."""
    return create_orders.create_orders.run(deduct_inventory.deduct_inventory.run(item.pk, batch))


def stock_of(item):
    return SaleItem.objects.values_list("available", "reserved", "sold").get(pk=item.pk)


def assert_ended(item, order_id=None, *, actor=""):
    """No unit is held, gate and ledger agree, nothing is open; ``order_id`` is the one row, with its whole history."""
    gate_effects.apply()
    assert stock_of(item) == (5, 0, 0)
    seen = gate.snapshot(item.pk)
    assert (seen.stock, seen.held, seen.buyers) == (5, {}, {})
    assert gate_client().exists(keys.queued(item.pk)) == 0
    report = audit()
    assert (report.is_clean, report.in_flight) == (True, 0), report
    assert not EffectBatch.objects.exists()
    assert not DeadLetter.objects.filter(resolved_at=None).exists()
    if order_id:
        assert list(Order.objects.values_list("pk", "status", "reason", "quantity")) == [(order_id, "rejected", "poisoned", 0)]
        events = OrderEvent.objects.filter(order_id=order_id).values_list("status", "reason", "actor")
        assert list(events) == [("queued", "", ""), ("rejected", "poisoned", actor)]


def deleted(customer):
    """The customer goes; what comes back is how to bring the customer back."""
    pk, name = customer.pk, customer.username
    model = type(customer)
    customer.delete()
    return lambda: model.objects.create(pk=pk, username=name, password="!")


@pytest.mark.parametrize(
    "values",
    [
        {"units": 0},
        {"sku": "a\0b"},
        {"method": "x" * 33},
        {"digest": "x" * 65},
        {"seq": "x" * 129},
        {"source": "x" * 33},
    ],
)
def test_what_can_never_fit_is_rejected_without_a_person(item, customer, order, values):
    order_id = order(item, customer).order_id
    spoil(item, with_values(**values))
    batch = batch_of(item)

    for _ in range(2):
        run(item, batch)

    assert placement.order_of(customer.pk, order_id)["reason"] == "poisoned"
    assert gate.waiting([item.pk]) == {item.pk: (0, 0)}
    assert_ended(item, order_id)
    letter = DeadLetter.objects.get()
    assert letter.resolved_by == letter.task


def test_what_may_heal_waits_for_people_and_is_saved_when_it_has(item, customer, order):
    order_id = order(item, customer).order_id
    restore = deleted(customer)
    run(item, batch_of(item))
    letter = DeadLetter.objects.get(resolved_at=None)
    assert (letter.task, stock_of(item), Order.objects.count()) == ("tasks.create_orders", (4, 1, 0), 0)

    restore()
    create_orders.create_orders.run(*letter.args)
    assert poison.reject(letter, "staff") == []

    assert (Order.objects.get().pk, Order.objects.get().status) == (order_id, "reserved")
    letter.refresh_from_db()
    assert letter.resolved_by == "tasks.create_orders"
    assert audit().is_clean


def test_a_deduction_that_staff_run_again_is_done_before_its_letter_is_closed(make_item, customer, order, silent_sweeps):
    item = make_item(units=5)
    keep_asleep(item)
    order_id = order(item, customer).order_id
    batch = batch_of(item)
    hidden = 10_000_000 + item.pk
    with without_triggers():
        SaleItem.objects.filter(pk=item.pk).update(id=hidden)
    deduct_inventory.deduct_inventory.run(item.pk, batch)
    letter = DeadLetter.objects.get()
    assert gate.waiting([item.pk]) == {item.pk: (0, 0)}
    with pytest.raises(dead_letters.CannotRunAgain):
        dead_letters.run_again(letter, "staff")
    letter.refresh_from_db()
    assert letter.resolved_at is None
    with without_triggers():
        SaleItem.objects.filter(pk=hidden).update(id=item.pk)

    for _ in range(2):
        dead_letters.run_again(letter, "staff")

    letter.refresh_from_db()
    assert (letter.resolved_by, list(Intake.objects.values_list("pk", flat=True))) == ("staff", [order_id])
    assert gate.queued_of([item.pk], customer.pk) == []
    silent_sweeps()
    assert Order.objects.get(pk=order_id).status == "reserved"


@contextmanager
def without_triggers():
    """An item goes and comes back with all that refers to it, which the ledger forbids."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        yield


def test_more_orders_that_cannot_be_helped_than_a_sweep_takes_keep_no_lost_one_back(
    item, customers, order, silent_sweeps, monkeypatch
):
    monkeypatch.setattr(sweeps, "_LIMIT", 2)
    *gone, last = customers(4)
    for buyer in (*gone, last):
        order(item, buyer)
    deduct_inventory.deduct_inventory.run(item.pk, batch_of(item))
    for buyer in gone:
        buyer.delete()

    silent_sweeps()
    silent_sweeps()

    assert list(Order.objects.values_list("customer", flat=True)) == [last.pk]
    assert DeadLetter.objects.filter(resolved_at=None).count() == len(gone)
    assert sorted(DeadLetter.objects.values_list("attempts", flat=True)) == [1, 1, 1]


def test_failed_order_is_retried_with_backoff_until_its_customer_returns(item, customer, order, silent_sweeps):
    order(item, customer)
    restore = deleted(customer)
    run(item, batch_of(item))
    pauses = []
    for _ in range(9):
        Intake.objects.update(retry_at=now())
        silent_sweeps()
        pauses.append(round((Intake.objects.get().retry_at - now()).total_seconds()))
    restore()
    silent_sweeps()
    assert not Order.objects.exists()

    Intake.objects.update(retry_at=now())
    silent_sweeps()

    assert [pause // 6 for pause in pauses] == pytest.approx([2, 4, 8, 16, 32, 64, 100, 100, 100], abs=1)
    assert Order.objects.get().status != "rejected"
    assert not DeadLetter.objects.filter(resolved_at=None).exists()


def test_an_order_whose_customer_is_gone_is_rejected_by_staff_and_stays_so(item, customer, order, silent_sweeps):
    order_id = order(item, customer).order_id
    restore = deleted(customer)
    batch = batch_of(item)
    run(item, batch)
    letter = DeadLetter.objects.get(resolved_at=None)

    assert poison.reject(letter, "staff") == [order_id]
    assert poison.reject(letter, "staff") == []
    for _ in range(2):
        run(item, batch)
        silent_sweeps()

    assert_ended(item)
    assert not Order.objects.exists()
    customer = restore()
    assert placement.order_of(customer.pk, order_id)["status"] == "rejected"
    run(item, batch)
    assert placement.order_of(customer.pk, order_id)["reason"] == "poisoned"
    assert_ended(item)


def test_a_sweep_that_failed_on_an_order_before_staff_rejected_it_opens_no_letter_after(item, customer, order):
    order_id = order(item, customer).order_id
    deleted(customer)
    run(item, batch_of(item))
    letter = DeadLetter.objects.get(resolved_at=None)
    rejected = []

    def late(execute, sql, params, many, context):
        if sql.startswith("INSERT INTO tasks_deadletter") and not rejected:
            rejected.extend(in_another_thread(lambda: poison.reject(letter, "staff")))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(late):
        create_orders.create([order_id])

    assert rejected == [order_id]
    assert_ended(item)


def in_another_thread(call):
    """What it returns, its own connection closed."""

    def run():
        try:
            return call()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result(20)


@pytest.fixture
def silent_sweeps():
    """All sweeps, late enough to find everything stale."""

    def late():
        Intake.objects.update(created_at=now().replace(year=2020))
        sweeps.run_all()

    return late


def test_an_order_of_an_item_that_is_gone_is_rejected_and_shown_to_its_customer(make_item, customer, order):
    item = make_item(units=0)  # with units the ledger would keep it
    item_id = item.pk
    gate_client().set(keys.stock(item_id), 1)
    order_id = order(item, customer).order_id
    batch = batch_of(item)
    item.delete()
    deduct_inventory.deduct_inventory.run(item_id, batch)
    letter = DeadLetter.objects.get(resolved_at=None)
    assert (letter.task, letter.error_code) == ("tasks.deduct_inventory", "not_found")

    assert poison.reject(letter, "staff") == [order_id]
    gate_effects.apply()

    assert placement.order_of(customer.pk, order_id)["status"] == "rejected"
    assert gate.snapshot(item_id).held == {}
    assert not EffectBatch.objects.exists()


def test_an_unreadable_line_ends_no_order_until_staff_reject_the_one_that_it_still_names(item, customers, order):
    customer, other = customers(2)
    order_id = order(item, customer).order_id
    lost_too = order(item, other).order_id
    gate_client().delete(keys.admitted(item.pk))  # of the other one nothing is left but its hold
    gate_client().xadd(keys.admitted(item.pk), {"o": f"{{{order_id}"})

    for _ in range(2):
        poison.dead_letter_unreadable(item.pk, claim(item).broken)

    letter = DeadLetter.objects.get()
    assert (letter.resolved_at, Order.objects.exists()) == (None, False)
    assert gate.waiting([item.pk]) == {item.pk: (0, 0)}
    assert gate.snapshot(item.pk).held.keys() == {order_id, lost_too}
    assert poison.reject(letter, "staff") == [order_id]
    gate_effects.apply()
    assert placement.order_of(customer.pk, order_id)["reason"] == "poisoned"
    assert gate.snapshot(item.pk).held.keys() == {lost_too}


def test_a_line_whose_order_staff_rejected_before_it_was_dropped_leaves_no_open_letter(item, customer, order, monkeypatch):
    order_id = order(item, customer).order_id
    spoil(item, lambda line: line + "}")
    broken = claim(item).broken

    class Killed(BaseException):
        pass

    def die(*_):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(gate, "drop", die)
        with pytest.raises(Killed):
            poison.dead_letter_unreadable(item.pk, broken)
    poison.reject(DeadLetter.objects.get(), "staff")
    gate_effects.apply()
    poison.dead_letter_unreadable(item.pk, broken)

    assert gate.waiting([item.pk]) == {item.pk: (0, 0)}
    assert_ended(item, order_id, actor="staff")


def test_an_order_that_a_person_has_made_another_customers_answers_with_a_code(item, customer, order, settings, api):
    settings.LOST_ORDER_AFTER_S = 0
    order_id = order(item, customer).order_id
    spoil(item, with_values(customer=0))
    run(item, batch_of(item))
    [letter] = DeadLetter.objects.filter(resolved_at=None)
    poison.reject(letter, "staff")
    gate_effects.apply()
    gate_client().delete(keys.queued(item.pk))

    answer = api.get(f"/api/v1/orders/{order_id}/")

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert_ended(item)


def test_an_unreadable_line_that_names_an_order_in_good_health_does_not_end_it(item, customers, order):
    ids = []
    for buyer in customers(3):
        ids.append(order(item, buyer).order_id)
        if len(ids) == 1:
            services.create(services.deduct(item.pk, _taken(item)))
        if len(ids) == 2:
            services.deduct(item.pk, _taken(item))
    for named in ids:
        gate_client().xadd(keys.admitted(item.pk), {"o": f"{{{named}"})

    poison.dead_letter_unreadable(item.pk, claim(item).broken)
    letters = DeadLetter.objects.filter(resolved_at=None)

    assert len(letters) == 3
    assert [poison.reject(letter, "staff") for letter in letters] == [[], [], []]
    assert [Order.objects.get().pk, Order.objects.get().status] == [ids[0], "reserved"]
    assert Intake.objects.get().pk == ids[1]
    assert gate.snapshot(item.pk).held.keys() == set(ids)


def _taken(item):
    entries = claim(item).entries
    gate.ack(item.pk, entries)
    return [order for _, order in entries]


@pytest.mark.parametrize("is_known", [True, False])
def test_rejected_order_from_an_old_disk_is_refused_and_released(item, customer, order, is_known):
    order_id = order(item, customer).order_id
    if is_known:
        spoil(item, with_values(source="x" * 33))
    else:
        deleted(customer)
    batch = batch_of(item)
    run(item, batch)
    for letter in DeadLetter.objects.filter(resolved_at=None):
        poison.reject(letter, "staff")
    gate_effects.apply()
    gate_client().hset(keys.held(item.pk), str(order_id), f"{batch[0][1]['customer']}:1")
    gate_client().hincrby(keys.buyers(item.pk), str(batch[0][1]["customer"]), 1)
    gate_client().decr(keys.stock(item.pk))

    run(item, batch)

    assert_ended(item, order_id if is_known else None)


def test_a_line_that_names_nothing_is_rejected_with_the_orders_that_only_the_gate_holds(item, customers, order):
    first, second = customers(2)
    lost = order(item, first).order_id
    spoil(item, lambda line: "{")
    kept = order(item, second).order_id
    poison.dead_letter_unreadable(item.pk, claim(item).broken)
    letter = DeadLetter.objects.get(resolved_at=None)
    assert letter.is_unreadable

    assert poison.reject(letter, "staff") == [lost]

    gate_effects.apply()
    assert gate.snapshot(item.pk).held.keys() == {kept}
    assert placement.order_of(first.pk, lost)["reason"] == "poisoned"
    assert placement.order_of(second.pk, kept)["status"] == "queued"
    with pytest.raises(dead_letters.CannotRunAgain):
        dead_letters.run_again(letter, "staff")


def test_nothing_is_rejected_by_a_line_that_names_nothing_while_the_gate_is_missing(item, customer, order):
    order(item, customer)
    spoil(item, lambda line: "{")
    poison.dead_letter_unreadable(item.pk, claim(item).broken)
    letter = DeadLetter.objects.get()
    gate_client().delete(keys.meta(item.pk))

    with pytest.raises(GateMissing):
        poison.reject(letter, "staff")

    letter.refresh_from_db()
    assert (letter.resolved_at, Order.objects.exists()) == (None, False)


@pytest.mark.parametrize("args", [[[]], [["0190f5a0-0000-7000-8000-000000000000"] * 2]])
def test_a_letter_of_no_order_or_of_many_is_not_rejected(args):
    dead_letters.dead_letter("tasks.create_orders", args, ValueError("planted"), attempts=1)

    with pytest.raises(poison.NotOneOrder):
        poison.reject(DeadLetter.objects.get(), "staff")

    assert DeadLetter.objects.get().resolved_at is None


def test_the_command_rejects_closes_and_says_so(item, customer, order, capsys):
    order_id = order(item, customer).order_id
    deleted(customer)
    run(item, batch_of(item))
    letter = DeadLetter.objects.get()
    dead_letters.dead_letter("tasks.create_orders", [[]], ValueError("planted"), attempts=1)
    other = DeadLetter.objects.get(args=[[]])

    with pytest.raises(CommandError, match=f"still open: {other}"):
        call_command("reject_orders", letter.pk, other.pk)
    with pytest.raises(CommandError, match="not found"):
        call_command("reject_orders", other.pk + 1)

    assert f"{letter}: rejected {order_id}" in capsys.readouterr().out
    dead_letters.close(other, "test")
    assert_ended(item)
    letter.refresh_from_db()
    assert letter.resolved_by == "manage.py reject_orders"


def test_an_order_is_either_rejected_or_taken_over_whoever_comes_first(make_item, customers, order):
    item = make_item(units=40)
    gate_client().hset(keys.meta(item.pk), "awake_until", 9_999_999_999_999_999)
    for buyer in customers(40):
        order(item, buyer)
    batch = batch_of(item)
    letters = [_letter(item, entry) for entry in batch]
    start = threading.Barrier(3)
    rejected = []

    def reject(some):
        start.wait()
        for letter in some:
            rejected.extend(_again(lambda letter=letter: poison.reject(letter, "staff")))

    def run_again():
        start.wait()
        for entry in batch:
            _again(lambda entry=entry: run(item, [entry]))

    def alone(act, *args):
        try:
            act(*args)
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(alone, reject, some) for some in (letters[::-1], letters[1::2])] + [pool.submit(alone, run_again)]
        [job.result() for job in jobs]

    gate_effects.apply()
    ended = {pk for pk, reason in Order.objects.values_list("pk", "reason") if reason == "poisoned"}
    assert (set(rejected), len(rejected)) == (ended, len(ended))
    assert Order.objects.count() == 40
    assert stock_of(item) == (len(ended), 40 - len(ended), 0)
    assert not Intake.objects.exists()
    assert not DeadLetter.objects.filter(resolved_at=None).exists()
    assert OrderEvent.objects.count() == 80
    report = audit()
    assert (report.is_clean, report.in_flight) == (True, 0), report


def _letter(item, entry):
    dead_letters.dead_letter("tasks.deduct_inventory", [item.pk, [entry]], ValueError("planted"), attempts=1)
    return DeadLetter.objects.order_by("pk").last()


def _again(act):
    """As the retry policy does."""
    for _ in range(20):
        with suppress(ConcurrentReservation, OperationalError):
            return act()
    raise AssertionError("never came through")


def test_staff_rejection_of_an_intake_order_frees_its_reserved_units(item, customer, order):
    order_id = order(item, customer).order_id
    services.deduct(item.pk, [each for _, each in claim(item).entries])
    Intake.objects.update(payload={"customer": customer.pk})
    assert stock_of(item) == (4, 1, 0)
    create_orders.create([order_id])
    assert (Order.objects.count(), Intake.objects.get().failures, stock_of(item)) == (0, 1, (4, 1, 0))
    letter = _create_letter(order_id)

    assert poison.reject(letter, "staff") == [order_id]

    gate_client().delete(keys.admitted(item.pk))
    assert list(item.movements.order_by("pk").values_list("kind", "units")) == [("allocate", 5), ("reserve", 1), ("release", 1)]
    assert_ended(item, order_id, actor="staff")


def _create_letter(order_id):
    dead_letters.dead_letter("tasks.create_orders", [[str(order_id)]], ValueError("planted"), attempts=1)
    return DeadLetter.objects.get()


def test_an_id_that_is_none_of_ours_ends_too(item, customer, order):
    order(item, customer)
    foreign = UUID(int=(1 << 128) - 1)
    gate_client().xadd(keys.admitted(item.pk), {"o": with_values(id=str(foreign), units=0)(_line(item))})
    good, bad = claim(item).entries

    deduct_inventory.deduct_inventory.run(item.pk, [[bad[0], bad[1].as_payload()]])

    assert (Order.objects.get().pk, Order.objects.get().reason) == (foreign, "poisoned")
    assert gate.snapshot(item.pk).held.keys() == {good[1].id}


def _line(item):
    return gate_client().xrange(keys.admitted(item.pk))[0][1]["o"]
