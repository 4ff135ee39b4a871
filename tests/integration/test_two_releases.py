"""Processes of two releases side by side: what one of them cannot read is left to the other, and nothing final is done."""

import json
from contextlib import contextmanager

import pytest
from django.db import DataError, IntegrityError, connection, transaction

from flashsale.core import messages
from flashsale.core.clock import now
from flashsale.core.redis_client import gate_client
from flashsale.ratelimit import ruleset
from flashsale.ratelimit.rule import Rule
from inventory.admission import gate, keys
from inventory.admission.admitted import VERSION, AdmittedOrder, envelope, read
from orders import placement, services
from orders.errors import OrderInDoubt
from orders.models import GateEffect, Intake, Order
from tasks import sweeps
from tasks.models import DeadLetter
from tasks.repair import dead_letters, poison
from tasks.repair import rebuild as rebuilding
from tasks.repair.audit import audit
from tasks.repair.drift import drift
from tasks.steps import create_orders, deduct_inventory, dispatch, gate_effects, request_payments
from tests.conftest import eventually, keep_asleep

db = pytest.mark.django_db(transaction=True)
COUNT = 10


@pytest.fixture
def item(make_item):
    made = make_item(units=COUNT)
    keep_asleep(made)
    return made


@pytest.fixture
def ids(item, customers, order):
    return [order(item, buyer).order_id for buyer in customers(COUNT)]


@contextmanager
def a_release_that_wants(name, *, raises=KeyError):
    """In this process ``name`` is a required field of an order."""
    real = AdmittedOrder.from_payload.__func__

    def newer(cls, payload):
        if name not in payload:
            raise raises(name)
        return real(cls, payload)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AdmittedOrder, "from_payload", classmethod(newer))
        yield


def claim(item):
    claimed = gate.claim(item.pk, consumer="c", limit=100, in_flight=100)
    keep_asleep(item)
    return claimed


def entry_ids(item):
    return [entry_id for entry_id, _ in gate_client().xrange(keys.admitted(item.pk))]


def rewrite(item, **values):
    """As a newer release would have written them."""
    stream = keys.admitted(item.pk)
    lines = [fields["o"] for _, fields in gate_client().xrange(stream)]
    gate_client().delete(stream)
    for line in lines:
        gate_client().xadd(stream, {"o": json.dumps(json.loads(line) | values)})


def drive_on(item):
    """What the sweeps would do until everything is settled."""
    Intake.objects.update(created_at=now().replace(year=2020), retry_at=None)
    for entries in iter(lambda: gate.steal(item.pk, consumer="c", idle_ms=3_000, limit=100).entries, []):
        batch = [[entry_id, order.as_payload()] for entry_id, order in entries]
        request_payments.request_payments.run(
            create_orders.create_orders.run(deduct_inventory.deduct_inventory.run(item.pk, batch))
        )
    sweeps.half_made_orders()
    request_payments.request_payments.run(
        [str(pk) for pk in Order.objects.filter(status="reserved").values_list("pk", flat=True)]
    )
    gate_effects.apply()


def assert_all_paid(ids):
    assert dict(Order.objects.values_list("pk", "status")) == dict.fromkeys(ids, "paid")
    report = audit()
    assert (report.is_clean, report.in_flight) == (True, 0), report
    assert not DeadLetter.objects.exists()


def test_the_payload_of_an_order_carries_its_version_and_the_fields_of_a_newer_release():
    payload = {**_payload(), "promise": "gold"}

    order = AdmittedOrder.from_payload(payload)

    assert order.as_payload() | payload | {"v": VERSION} == order.as_payload()
    assert read(payload | {"v": VERSION + 1}) is None
    assert read({key: value for key, value in payload.items() if key != "digest"}) is None
    assert envelope(payload | {"v": 99}, 7) == (order.id, 7, order.customer, order.units)
    assert envelope({"id": str(order.id)}, 7) == (order.id, 7, 0, 0)
    assert [envelope(other, 7) for other in ({}, [], None, {"id": 5}, {"id": "x"})] == [None] * 5


def _payload():
    return {
        "id": "01a21382-ab08-7c76-8000-006062ec3b05",
        "item": 7,
        "customer": 3,
        "sku": "thing",
        "units": 2,
        "price": "10.00",
        "currency": "EUR",
        "source": "shop",
        "seq": "1",
        "digest": "ab",
        "method": "pm_ok",
        "at": 1,
        "life": 1,
    }


@db
@pytest.mark.parametrize("raises", [KeyError, ValueError, TypeError, ArithmeticError, AttributeError])
def test_unreadable_orders_stay_in_the_stream_for_a_newer_dispatcher(no_workers, item, ids, raises):
    with a_release_that_wants("promise", raises=raises):
        for _ in range(2):
            dispatch.dispatch.run(item.pk)
            keep_asleep(item)
            sweeps.waiting_orders()
    assert gate.waiting([item.pk]) == {item.pk: (0, COUNT)}
    assert (Order.objects.count(), Intake.objects.count(), DeadLetter.objects.count()) == (0, 0, 0)

    drive_on(item)

    assert_all_paid(ids)


@db
def test_unreadable_orders_are_returned_and_the_rest_is_deducted(item, ids):
    batch = [[entry_id, order.as_payload()] for entry_id, order in claim(item).entries]
    for entry in batch[:3]:
        entry[1] |= {"v": VERSION + 1}

    assert deduct_inventory.deduct_inventory.run(item.pk, batch) == [str(pk) for pk in ids[3:]]

    assert gate.waiting([item.pk]) == {item.pk: (0, 3)}
    assert not DeadLetter.objects.exists()
    drive_on(item)
    assert_all_paid(ids)


@db
def test_unread_message_without_stream_entries_is_kept_as_dead_letters(item, ids):
    batch = [[entry_id, order.as_payload()] for entry_id, order in claim(item).entries]
    gate_client().flushall()
    rebuilding.rebuild_gate(item.pk)

    with a_release_that_wants("promise"):
        assert deduct_inventory.deduct_inventory.run(item.pk, batch) == []
        letter = DeadLetter.objects.first()
        with pytest.raises(dead_letters.CannotRunAgain):
            dead_letters.run_again(letter, "staff")

    assert sorted(letter.args[1][0][1]["id"] for letter in DeadLetter.objects.all()) == sorted(map(str, ids))
    for letter in DeadLetter.objects.filter(resolved_at=None):
        dead_letters.run_again(letter, "staff")
    drive_on(item)
    assert Order.objects.filter(status="paid").count() == COUNT


@db
@pytest.mark.parametrize("raises", [KeyError, ValueError, TypeError])
def test_rows_of_the_intake_that_cannot_be_read_are_left_and_become_orders(item, ids, raises):
    services.deduct(item.pk, [order for _, order in claim(item).entries])
    gate_client().delete(keys.admitted(item.pk), keys.queued(item.pk))
    with a_release_that_wants("promise", raises=raises):
        assert create_orders.create_orders.run([str(pk) for pk in ids]) == []
        Intake.objects.update(created_at=now().replace(year=2020))
        sweeps.half_made_orders()
        with pytest.raises(OrderInDoubt):
            placement.order_of(Intake.objects.get(pk=ids[0]).payload["customer"], ids[0])
    assert (Order.objects.count(), Intake.objects.count()) == (0, COUNT)

    drive_on(item)

    assert_all_paid(ids)


@db
def test_an_older_release_hands_on_the_field_that_a_newer_one_wants(item, ids):
    rewrite(item, promise="gold")
    services.deduct(item.pk, [order for _, order in claim(item).entries])  # the older one, which does not know the field
    gate_client().delete(keys.admitted(item.pk), keys.queued(item.pk))

    with a_release_that_wants("promise"):
        drive_on(item)

    assert_all_paid(ids)


@db
def test_unread_orders_are_not_in_flight_and_keep_nothing_back_behind_them(no_workers, make_item, customers, order, settings):
    settings.BATCH_SIZE = 2
    item = make_item(units=12)
    keep_asleep(item)
    buyers = customers(12)
    for buyer in buyers[:9]:
        order(item, buyer)
    rewrite(item, v=VERSION + 1)
    later = [order(item, buyer).order_id for buyer in buyers[9:]]

    for _ in range(6):
        dispatch.dispatch.run(item.pk)
        keep_asleep(item)

    assert gate.on_their_way([item.pk]) == {item.pk: (0, 3)}
    gate.leave(item.pk, entry_ids(item))
    seen = gate.steal(item.pk, consumer="c", idle_ms=3_000, limit=2)
    assert [entry.id for _, entry in seen.entries] == later[:2]
    assert gate.on_their_way([item.pk]) == {item.pk: (0, 2)}


@db
def test_a_reclaim_that_does_not_get_to_the_end_goes_on_there_next_time(make_item, customers, order, monkeypatch):
    monkeypatch.setattr("inventory.admission.gate.stream._MOST_PAGES", 2)
    item = make_item(units=6)
    keep_asleep(item)
    buyers = customers(6)
    for buyer in buyers[:5]:
        order(item, buyer)
    rewrite(item, v=VERSION + 1)
    last = order(item, buyers[5]).order_id
    gate.leave(item.pk, [each.entry_id for each in claim(item).unread])
    gate.leave(item.pk, entry_ids(item))

    found = [gate.steal(item.pk, consumer="c", idle_ms=3_000, limit=2).entries for _ in range(2)]

    assert [[entry.id for _, entry in entries] for entries in found] == [[], [last]]


@db
def test_order_unread_for_a_minute_makes_a_self_closing_letter(item, ids):
    rewrite(item, v=VERSION + 1)
    unread = claim(item).unread
    for _ in range(3):
        gate.leave(item.pk, [each.entry_id for each in unread], idle_ms=60_000)
        sweeps.waiting_orders()
        sweeps.waiting_orders()  # a minute more must pass
    letters = DeadLetter.objects.filter(resolved_at=None)
    assert (letters.count(), {letter.attempts for letter in letters}) == (COUNT, {3})
    assert {letter.error_code for letter in letters} == {"unread_order"}
    assert gate.waiting([item.pk]) == {item.pk: (0, COUNT)}

    rewritten = [AdmittedOrder.from_payload(each.payload | {"v": 1}) for each in unread]
    services.deduct(item.pk, rewritten[1:])
    sweeps.healed_letters()
    assert [letter.args[1][0][0] for letter in letters.all()] == [unread[0].entry_id]

    assert poison.reject(letters.get(), "staff") == [ids[0]]
    gate.leave(item.pk, [each.entry_id for each in unread], idle_ms=60_000)
    sweeps.waiting_orders()
    assert gate.waiting([item.pk]) == {item.pk: (0, 0)}
    assert placement.order_of(rewritten[0].customer, ids[0])["reason"] == "poisoned"


@db
def test_a_rebuilt_gate_holds_the_units_of_orders_that_this_release_cannot_read(item, ids):
    rewrite(item, v=VERSION + 1)
    claim(item)

    rebuilding.rebuild_gate(item.pk)

    seen = gate.snapshot(item.pk)
    assert (seen.stock, seen.held.keys()) == (0, set(ids))
    assert not drift(item.pk).is_drift


@db
def test_own_exception_ends_no_order_and_delays_none(item, ids, monkeypatch):
    real = services.deduct

    def faulty(item_id, orders):
        if any(order.id == ids[4] for order in orders):
            raise ZeroDivisionError
        return real(item_id, orders)

    batch = [[entry_id, order.as_payload()] for entry_id, order in claim(item).entries]
    with monkeypatch.context() as patched:
        patched.setattr(services, "deduct", faulty)
        taken = deduct_inventory.deduct_inventory.run(item.pk, batch)

    assert taken == [str(pk) for pk in ids if pk != ids[4]]
    assert gate.waiting([item.pk]) == {item.pk: (0, 1)}
    assert DeadLetter.objects.get(resolved_at=None).args[1][0][1]["id"] == str(ids[4])
    gate.leave(item.pk, [batch[4][0]])
    drive_on(item)
    sweeps.healed_letters()
    assert not DeadLetter.objects.filter(resolved_at=None).exists()
    assert Order.objects.filter(status="paid").count() == COUNT


@db
@pytest.mark.parametrize(
    ("change", "undo"),
    [
        (
            "ALTER TABLE orders_order ADD promise text NOT NULL",
            "ALTER TABLE orders_order DROP promise",
        ),
        ("ALTER TABLE orders_order ADD CONSTRAINT newer CHECK (sku = '')", "ALTER TABLE orders_order DROP CONSTRAINT newer"),
        (
            "ALTER TABLE orders_order ALTER digest TYPE varchar(2)",
            "ALTER TABLE orders_order ALTER digest TYPE varchar(64)",
        ),
    ],
)
def test_what_a_newer_migration_refuses_of_this_release_is_not_the_orders_fault(item, ids, change, undo):
    services.deduct(item.pk, [order for _, order in claim(item).entries])
    gate_client().delete(keys.admitted(item.pk), keys.queued(item.pk))
    with connection.cursor() as cursor:
        cursor.execute(change)
    try:
        assert create_orders.create_orders.run([str(pk) for pk in ids]) == []
        assert (Order.objects.count(), Intake.objects.count()) == (0, COUNT)
    finally:
        with connection.cursor() as cursor:
            cursor.execute(undo)

    drive_on(item)

    assert {status for (status,) in Order.objects.values_list("status")} == {"paid"}
    assert not DeadLetter.objects.filter(resolved_at=None).exists()


@db
def test_only_a_value_of_the_order_that_the_database_refused_is_evidence():
    good = AdmittedOrder.from_payload(_payload())
    bad = AdmittedOrder.from_payload(_payload() | {"sku": "x" * 65})
    refused = []
    for statement in ("SELECT 'much'::int", "SELECT 1 / 0"):
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(statement)
        except DataError as error:
            refused.append(error)

    assert [services.can_never_fit(each, good) for each in refused] == [False, False]
    assert [services.can_never_fit(each, bad) for each in refused] == [True, True]
    for ours in (KeyError("x"), ValueError(), ArithmeticError(), TypeError(), IntegrityError(), DataError()):
        assert not services.can_never_fit(ours, bad)


@db
def test_an_effect_that_only_a_newer_release_knows_is_left_to_it(item, ids):
    GateEffect.objects.create(item_id=item.pk, order_id=ids[0], kind="newer")

    assert gate_effects.apply() == 0

    assert GateEffect.objects.get().kind == "newer"
    assert set(ids) == gate.snapshot(item.pk).held.keys()


@db
def test_admission_works_at_a_gate_that_the_previous_release_opened(item, customers, order):
    fields = ["version", "allocated", "sold", "state", "opens_at", "closes_at", "sku", "price", "currency", "per_customer"]
    fields += ["backlog", "pace", "life"]  # of release d21981e
    meta = gate_client().hgetall(keys.meta(item.pk))
    gate_client().hdel(keys.meta(item.pk), *(meta.keys() - set(fields)))
    buyer = customers(1)[0]

    placed = order(item, buyer)

    assert [each.id for each in gate.stream_orders(item.pk)] == [placed.order_id]
    assert json.loads(gate_client().xrange(keys.admitted(item.pk))[0][1]["o"])["v"] == VERSION


@db
def test_receipts_and_holds_to_which_a_newer_release_has_added_are_read(item, customer, order):
    token = gate.issue_token(item.pk, customer.pk).token
    first = order(item, customer, token=token, seq="1")
    receipt = keys.receipt("shop", "1")
    gate_client().set(receipt, gate_client().get(receipt) + " newer")
    held = keys.held(item.pk)
    gate_client().hset(held, str(first.order_id), gate_client().hget(held, str(first.order_id)) + ":7")

    assert order(item, customer, token=token, seq="1").replayed
    assert gate.snapshot(item.pk).held == {first.order_id: (customer.pk, 1)}
    gate.settle(item.pk, [first.order_id])
    seen = gate.snapshot(item.pk)
    assert (seen.stock, seen.held, seen.sold) == (COUNT - 1, {}, 1)


@db
def test_message_of_a_newer_release_returns_and_ends_no_order(workers, item, ids):
    args = [item.pk, [[entry_id, order.as_payload()] for entry_id, order in claim(item).entries]]

    deduct_inventory.deduct_inventory.apply_async(args=[*args, "newer"], retries=5)
    create_orders.create_orders.apply_async(args=[[]], headers={"v": messages.VERSION + 1}, retries=5)

    letters = eventually(lambda: (found := DeadLetter.objects.filter(error_code="unread_message")).count() == 2 and found)
    assert {letter.task for letter in letters} == {"tasks.deduct_inventory", "tasks.create_orders"}
    assert (Order.objects.count(), gate.waiting([item.pk])) == (0, {item.pk: (0, COUNT)})
    gate.leave(item.pk, [entry_id for entry_id, _ in args[1]])
    drive_on(item)
    assert Order.objects.filter(status="paid").count() == COUNT


def _rule(**values):
    return {"name": "a", "applies_to": "api", "key": "all", "algorithm": "token_bucket", "rate": 5, "burst": 5} | values


def test_published_rules_of_a_newer_release_leave_the_last_good_ones_in_force():
    [mine] = ruleset.parse(json.dumps([_rule()]))

    same = ruleset.parse(json.dumps([_rule(rate=9, weight=2), _rule(name="b", weight=2)]), [mine])
    assert [(rule.name, rule.rate) for rule in same] == [("a", 5), ("b", 5)]
    unknown_algorithm = ruleset.parse(json.dumps([_rule(algorithm="newer"), _rule(name="b", algorithm="newer")]), [mine])
    assert unknown_algorithm == (mine,)
    newer = ruleset.parse(json.dumps({"v": 2, "rules": [_rule(rate=9), _rule(name="b", rate=7)]}), [mine])
    assert [(rule.name, rule.rate) for rule in newer] == [("a", 5), ("b", 7)]
    assert ruleset.parse(json.dumps([_rule(rate=9)]), [mine]) == (Rule.from_values(_rule(rate=9)),)
