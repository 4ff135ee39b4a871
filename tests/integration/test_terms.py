"""A price is charged only if it was shown; an order is judged by the terms under which it was admitted."""

import random
from contextlib import suppress
from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction

from flashsale.core.errors import RateLimited
from flashsale.core.redis_client import gate_client
from inventory import selectors
from inventory.admission import gate, keys, waiting_room
from inventory.admission.admitted import AdmittedOrder
from inventory.errors import LimitPerCustomer, PriceChanged, QuantityOver
from inventory.models import SaleItem, Terms
from orders import placement, services
from orders.models import Intake, Order
from tasks.models import DeadLetter
from tasks.repair import dead_letters, drift, gate_sync
from tasks.repair.audit import audit
from tasks.steps import deduct_inventory, gate_effects

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_workers")]


def change(item, **values):
    """Staff save new terms, and the gate learns them."""
    SaleItem.objects.filter(pk=item.pk).update(**values)
    gate_sync.refresh_gates([item.pk])


def terms_of(item):
    return list(Terms.objects.filter(item=item).order_by("version").values_list("version", "price", "currency", "per_customer"))


def asked(item, customer, token, *, seq="1", unit_price=None, units=1):
    price = None if unit_price is None else Decimal(unit_price)
    request = placement.OrderRequest(token, "thing", units, "shop", seq, "pm_ok", price)
    return placement.place_order(customer.pk, request)


def claimed(item):
    entries = gate.claim(item.pk, consumer="test", limit=100, in_flight=1_000).entries
    return [[entry_id, order.as_payload()] for entry_id, order in entries]


def settle(item, batch=None):
    """What is admitted becomes rows; no worker runs."""
    ids = deduct_inventory.deduct_inventory.run(item.pk, claimed(item) if batch is None else batch)
    services.create(AdmittedOrder.from_payload(row.payload).id for row in Intake.objects.all())
    gate_effects.apply()
    return ids


def present(item):
    seen = gate.snapshot(item.pk)
    return seen.stock, len(seen.held), seen.backlog, gate_client().keys(f"fs:{{{item.pk}}}:token:*")


@pytest.fixture
def item(make_item):
    return make_item(units=10, price="129.00", per_customer=2)


def test_every_way_that_writes_a_price_or_a_limit_writes_its_terms_down(item):
    SaleItem.objects.filter(pk=item.pk).update(price=Decimal("199.00"))
    stale, fresh = item, SaleItem.objects.get(pk=item.pk)
    fresh.per_customer = 1
    fresh.save(update_fields=["per_customer"])
    SaleItem.objects.filter(pk=item.pk).update(price=Decimal("199.00"), available=10)
    stale.currency = "USD"
    stale.save()

    assert [(version, str(price), *more) for version, price, *more in terms_of(item)] == [
        (1, "129.0000", "EUR", 2),
        (2, "199.0000", "EUR", 2),
        (3, "199.0000", "EUR", 1),
        (4, "129.0000", "USD", 2),
    ]
    assert SaleItem.objects.get(pk=item.pk).terms_version == 4
    assert gate.versions([item.pk])[item.pk][0] < SaleItem.objects.get(pk=item.pk).gate_version


def test_terms_cannot_be_rewritten_and_go_with_an_item_that_is_deleted(item):
    for write in (lambda rows: rows.update(price=1), lambda rows: rows.delete()):
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            write(Terms.objects.filter(item=item))
    assert len(terms_of(item)) == 1

    other = SaleItem.objects.create(sale=item.sale, product=type(item.product).objects.create(sku="b", name="b"), price=1)
    assert len(terms_of(other)) == 1
    other_pk = other.pk
    other.delete()

    assert not Terms.objects.filter(item=other_pk).exists()


def test_a_purchase_token_pins_the_price_that_was_shown(item, customer):
    token = gate.issue_token(item.pk, customer.pk).token
    change(item, price=Decimal("199.00"))

    order = asked(item, customer, token).order_id
    settle(item)

    row = Order.objects.get(pk=order)
    assert (str(row.unit_price), row.status, row.terms_version, row.limit_version) == ("129.00", "reserved", 1, 2)
    assert audit().is_clean
    later = gate.issue_token(item.pk, customer.pk).token
    second = asked(item, customer, later, seq="2", unit_price="199").order_id
    settle(item)
    assert str(Order.objects.get(pk=second).unit_price) == "199.00"


def test_a_price_that_is_not_what_would_be_charged_is_refused_and_nothing_moves(item, customer):
    change(item, price=Decimal("199.00"))
    token = gate.issue_token(item.pk, customer.pk).token
    before = present(item)

    for shown in ("129.00", "198.99", "1990", "0"):
        with pytest.raises(PriceChanged) as refused:
            asked(item, customer, token, unit_price=shown)
        assert refused.value.members == {"unit_price": "199.00"}

    assert present(item) == before == (10, 0, 0, [keys.token(item.pk, token)])
    assert asked(item, customer, token, unit_price="0199.000").replayed is False


def test_a_replay_is_told_its_order_whatever_the_price_is_now(item, customer):
    token = gate.issue_token(item.pk, customer.pk).token
    first = asked(item, customer, token, unit_price="129.00")
    change(item, price=Decimal("199.00"))

    again = asked(item, customer, token, unit_price="129")

    assert (again.order_id, again.replayed) == (first.order_id, True)


def test_a_turn_in_the_waiting_room_pins_the_price(make_item, customer):
    item = make_item(units=10, price="129.00", room=100)
    issued = waiting_room.join(item.pk, customer.pk)
    change(item, price=Decimal("199.00"))

    with pytest.raises(PriceChanged):
        asked(item, customer, issued.token, unit_price="199.00")
    order = asked(item, customer, issued.token, unit_price="129.00").order_id
    settle(item)

    assert str(Order.objects.get(pk=order).unit_price) == "129.00"


@pytest.mark.parametrize(
    "values",
    [{"price": "0.01"}, {"currency": "JPY"}, {"price": "1e-2"}, {"price": "much"}, {"price": "NaN"}, {"price": "1" * 40}],
)
@pytest.mark.parametrize("is_told_versions", [True, False])
def test_a_price_that_somebody_wrote_into_the_gate_is_not_charged(item, customer, values, is_told_versions):
    gate_client().hset(keys.meta(item.pk), mapping=values)
    if not is_told_versions:
        gate_client().hdel(keys.meta(item.pk), "terms")
    order = asked(item, customer, gate.issue_token(item.pk, customer.pk).token).order_id

    assert settle(item) == [str(order)]

    row = Order.objects.get(pk=order)
    assert (row.status, row.reason, str(row.unit_price), row.currency) == ("rejected", "price_mismatch", "129.00", "EUR")
    assert SaleItem.objects.values_list("available", "reserved", "sold").get() == (10, 0, 0)
    seen = gate.snapshot(item.pk)
    assert (seen.stock, seen.held, seen.buyers, seen.backlog) == (10, {}, {}, 0)
    assert gate_client().hmget(keys.meta(item.pk), "price", "currency") == ["129.00", "EUR"]
    assert audit().is_clean


@pytest.mark.parametrize("is_told_versions", [True, False])
def test_a_limit_that_somebody_wrote_into_the_gate_sells_nobody_more(item, customer, is_told_versions):
    gate_client().hset(keys.meta(item.pk), "per_customer", 1000)
    if not is_told_versions:
        gate_client().hdel(keys.meta(item.pk), "terms")
    order = asked(item, customer, gate.issue_token(item.pk, customer.pk).token, units=3).order_id

    settle(item)

    row = Order.objects.get(pk=order)
    assert (row.status, row.reason) == ("rejected", "limit_per_customer")
    assert SaleItem.objects.values_list("available", "reserved", "sold").get() == (10, 0, 0)
    assert gate_client().hget(keys.meta(item.pk), "per_customer") == "2"
    assert audit().is_clean


def test_a_price_with_other_zeros_is_the_same_price(item, customer):
    gate_client().hset(keys.meta(item.pk), "price", "129")

    assert gate.wrong_terms(selectors.terms([item.pk])[0]) == []
    order = asked(item, customer, gate.issue_token(item.pk, customer.pk).token, unit_price="129.00").order_id
    settle(item)
    assert (Order.objects.get(pk=order).status, audit().is_clean) == ("reserved", True)


def test_audit_names_differing_terms_and_reconcile_repairs_them(item):
    gate_client().hset(keys.meta(item.pk), mapping={"price": "0.01", "per_customer": 1000})

    breaches = {check.name: check.breaches for check in audit().checks if check.breaches}
    assert list(breaches) == ["gate matches PostgreSQL"]
    assert "wrong terms: price, per_customer" in breaches["gate matches PostgreSQL"][0]

    drift.mend(drift.drift(item.pk), "staff")
    assert audit().is_clean
    assert gate_client().hmget(keys.meta(item.pk), "price", "per_customer") == ["129.00", "2"]


def test_an_audit_names_an_order_at_a_price_that_its_item_never_had(item, customer):
    order = asked(item, customer, gate.issue_token(item.pk, customer.pk).token).order_id
    settle(item)
    Order.objects.filter(pk=order).update(unit_price=Decimal("0.01"))

    assert [check.name for check in audit().checks if check.breaches] == ["every order has a price of its item"]


def test_terms_that_the_ledger_does_not_know_decide_nothing_and_keep_no_other_order_back(item, customers):
    one, two = customers(2)
    first = asked(item, one, gate.issue_token(item.pk, one.pk).token).order_id
    second = asked(item, two, gate.issue_token(item.pk, two.pk).token, seq="2").order_id
    batch = claimed(item)
    entry = next(payload for _, payload in batch if payload["id"] == str(first))
    known = entry["terms_version"]
    entry["terms_version"] = 7

    assert settle(item, batch) == [str(second)]
    assert gate.waiting([item.pk])[item.pk] == (0, 1)
    assert not Order.objects.filter(pk=first).exists()

    entry["terms_version"] = known
    assert sorted(settle(item, batch)) == sorted([str(first), str(second)])
    assert set(Order.objects.values_list("status", flat=True)) == {"reserved"}


@pytest.mark.parametrize("is_streamed", [True, False])
def test_terms_that_stay_unknown_wait_for_staff_and_the_order_is_saved_when_they_come(item, customer, is_streamed):
    order = asked(item, customer, gate.issue_token(item.pk, customer.pk).token).order_id
    batch = claimed(item)
    batch[0][1] |= {"terms_version": 2, "price": "199.00"}
    if is_streamed:
        batch[0][1]["at"] -= 61_000_000
    else:
        gate_client().delete(keys.admitted(item.pk))

    assert settle(item, batch) == []

    letter = DeadLetter.objects.get(resolved_at=None)
    assert (letter.task, letter.error_code) == ("tasks.deduct_inventory", "terms_unknown")
    assert gate.waiting([item.pk])[item.pk] == (0, 0)
    assert len(gate.snapshot(item.pk).held) == 1
    with pytest.raises(dead_letters.CannotRunAgain):
        dead_letters.run_again(letter, "staff")
    SaleItem.objects.filter(pk=item.pk).update(price=Decimal("199.00"))
    dead_letters.run_again(letter, "staff")
    settle(item, [])
    row = Order.objects.get()
    assert (row.pk, row.status, str(row.unit_price), row.terms_version) == (order, "reserved", "199.00", 2)


def test_lines_and_gates_of_processes_that_number_no_terms_are_taken(item, customer):
    change(item, price=Decimal("199.00"))
    version = gate_client().hget(keys.meta(item.pk), "version")
    gate_client().hset(keys.meta(item.pk), mapping={"version": int(version) + 1, "price": "129.00"})  # as an older one would
    token = gate.issue_token(item.pk, customer.pk).token
    gate_client().delete(keys.tokens(item.pk, customer.pk))  # nor does it pin
    order = asked(item, customer, token).order_id
    batch = claimed(item)
    assert (batch[0][1]["terms_version"], batch[0][1]["limit_version"]) == (0, 0)
    del batch[0][1]["terms_version"], batch[0][1]["limit_version"]

    settle(item, batch)

    row = Order.objects.get(pk=order)
    assert (row.status, str(row.unit_price), row.terms_version, row.limit_version) == ("reserved", "129.00", None, None)


# the limit per customer


@pytest.fixture
def four(make_item, customer):
    """An order of 4 under a limit of 5, which is 2 by now."""
    item = make_item(units=10, per_customer=5)
    order = asked(item, customer, gate.issue_token(item.pk, customer.pk).token, units=4).order_id
    change(item, per_customer=2)
    return item, order


def test_an_order_under_a_limit_that_was_lowered_stands_in_the_audit(four, customer):
    item, order = four
    settle(item)

    assert audit().is_clean
    assert Order.objects.get(pk=order).limit_version == 1
    with pytest.raises(LimitPerCustomer):
        asked(item, customer, gate.issue_token(item.pk, customer.pk).token, seq="2")
    Order.objects.filter(pk=order).update(limit_version=2)
    assert [check.name for check in audit().checks if check.breaches] == ["no customer over the limit"]


@pytest.mark.parametrize("is_in_stream", [True, False])
def test_an_order_under_a_limit_that_was_lowered_stands_after_a_lost_gate(four, customer, is_in_stream):
    item, order = four
    batch = claimed(item)
    if not is_in_stream:
        settle(item, batch)
    gate_client().flushall()
    gate_sync.refresh_gates([item.pk])

    settle(item, batch)

    assert list(Order.objects.values_list("pk", "status", "quantity")) == [(order, "reserved", 4)]
    assert gate.snapshot(item.pk).buyers == {customer.pk: 4}
    assert audit().is_clean


def test_a_lost_gate_gives_nobody_more_than_the_limits_of_all_their_orders(make_item, customer):
    item = make_item(units=10, per_customer=1)
    lost = asked(item, customer, gate.issue_token(item.pk, customer.pk).token).order_id
    before = claimed(item)
    gate_client().flushall()
    change(item, per_customer=2)
    second = asked(item, customer, gate.issue_token(item.pk, customer.pk).token, seq="2", units=2).order_id
    settle(item)

    settle(item, before)

    statuses = dict(Order.objects.values_list("pk", "status"))
    assert statuses == {second: "reserved", lost: "rejected"}
    assert Order.objects.get(pk=lost).reason == "limit_per_customer"
    assert audit().is_clean


def test_a_raised_limit_counts_what_was_bought_under_the_old_one(make_item, customer):
    item = make_item(units=10, per_customer=1)
    asked(item, customer, gate.issue_token(item.pk, customer.pk).token)
    change(item, per_customer=3)
    with pytest.raises(LimitPerCustomer):
        asked(item, customer, gate.issue_token(item.pk, customer.pk).token, seq="2", units=3)
    asked(item, customer, gate.issue_token(item.pk, customer.pk).token, seq="3", units=2)
    settle(item)

    assert list(Order.objects.order_by("pk").values_list("quantity", "limit_version")) == [(1, 1), (2, 2)]
    assert audit().is_clean


class Walk:
    """Staff, customers, workers and faults in any order; what each order may cost is kept beside."""

    def __init__(self, item, buyers, seed):
        self.item, self.buyers, self.chance = item, buyers, random.Random(seed)
        self.tokens, self.costs, self.batches, self.has_lost = [], {}, [], False

    def price(self):
        change(self.item, price=Decimal(self.chance.randint(100, 999)) / 100)

    def limit(self):
        change(self.item, per_customer=self.chance.randint(1, 4))

    def token(self):
        buyer = self.chance.choice(self.buyers)
        with suppress(RateLimited):
            self.tokens.append((buyer, gate.issue_token(self.item.pk, buyer.pk).token, price_of(self.item)))

    def order(self):
        if not self.tokens:
            return
        buyer, token, pinned = self.tokens.pop(self.chance.randrange(len(self.tokens)))
        shown = self.chance.choice([pinned, price_of(self.item), None])
        seq, units = str(self.chance.random()), self.chance.randint(1, 2)
        with suppress(LimitPerCustomer, QuantityOver):
            if shown not in (pinned, None):
                with pytest.raises(PriceChanged):
                    asked(self.item, buyer, token, seq=seq, unit_price=shown, units=units)
            else:
                self.costs[asked(self.item, buyer, token, seq=seq, unit_price=shown, units=units).order_id] = pinned

    def claim(self):
        self.batches.append(claimed(self.item))

    def settle(self):
        if self.batches:
            settle(self.item, self.chance.choice(self.batches))

    def lose(self):
        self.claim()
        gate_client().flushall()
        gate_sync.refresh_gates([self.item.pk])
        self.tokens, self.has_lost = [], True


def price_of(item):
    return str(SaleItem.objects.get(pk=item.pk).price)


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_in_whatever_order_no_other_price_is_charged_and_no_limit_is_broken(make_item, customers, seed):
    walk = Walk(make_item(units=60, price="1.00", per_customer=2), customers(4), seed)
    steps = {walk.price: 3, walk.limit: 2, walk.token: 9, walk.order: 12, walk.claim: 4, walk.settle: 4, walk.lose: 1}

    for step in walk.chance.choices(list(steps), list(steps.values()), k=60):
        step()
    walk.claim()
    for batch in walk.batches:
        settle(walk.item, batch)

    assert {pk: str(price) for pk, price in Order.objects.values_list("pk", "unit_price")} == walk.costs
    ends = set(Order.objects.values_list("status", "reason"))
    assert ends <= {("reserved", "")} | ({("rejected", "limit_per_customer")} if walk.has_lost else set())
    report = audit()
    assert report.is_clean, [check for check in report.checks if check.breaches]


# tokens


def test_customer_has_ten_unused_tokens_and_using_one_makes_room(item, customers, settings):
    one, other = customers(2)
    tokens = [gate.issue_token(item.pk, one.pk).token for _ in range(settings.PURCHASE_TOKENS_PER_CUSTOMER)]
    assert len(tokens) == 10

    with pytest.raises(RateLimited) as refused:
        gate.issue_token(item.pk, one.pk)

    assert 290 < refused.value.retry_after <= 300
    assert len(gate_client().keys(f"fs:{{{item.pk}}}:token:*")) == 10
    gate.issue_token(item.pk, other.pk)
    asked(item, one, tokens[3])
    gate.issue_token(item.pk, one.pk)
    with pytest.raises(RateLimited):
        gate.issue_token(item.pk, one.pk)


def test_a_token_that_has_expired_takes_no_place(item, customer, settings):
    settings.PURCHASE_TOKENS_PER_CUSTOMER = 2
    gate.issue_token(item.pk, customer.pk)
    name = keys.tokens(item.pk, customer.pk)
    for token, pinned in gate_client().hgetall(name).items():
        gate_client().hset(name, token, "1 " + pinned.partition(" ")[2])
    gate.issue_token(item.pk, customer.pk)
    gate.issue_token(item.pk, customer.pk)

    assert gate_client().hlen(name) == 2
    assert 300 <= gate_client().ttl(name) <= 301
