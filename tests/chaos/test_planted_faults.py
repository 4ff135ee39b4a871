"""The product is broken in one place, sells for real, and the checker names the promise that was broken."""

from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from hashlib import sha1

import pytest
from django.db import connection

from flashsale.core import bulk
from flashsale.core.ids import new_uuid
from flashsale.core.redis_client import gate_client
from inventory import services as inventory
from inventory.admission import gate, keys
from inventory.admission.codes import EffectCode
from inventory.admission.gate import admission, decided
from orders import terms, transitions
from orders.services import outbox, payment
from orders.states import OrderStatus
from payments import services as payments
from payments.providers.sandbox import Sandbox
from tasks.steps import deduct_inventory
from tests.chaos.small_sale import Killed, SmallSale

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sale(make_item, customers):
    item = make_item(units=12, per_customer=2, price="12.34")
    return SmallSale(item, customers(5))


@contextmanager
def without_constraints(table, *names):
    """The table without these; what was written meanwhile is deleted before they are put back."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass AND conname = ANY(%s)",
            [table, list(names)],
        )
        found = cursor.fetchall()
        assert len(found) == len(names), found
        for name, _ in found:
            cursor.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE orders_order, inventory_saleitem CASCADE")
            for name, definition in found:
                cursor.execute(f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {definition}')


def alter(monkeypatch, script, *lines):
    """A script of the gate's without these lines."""
    source = script.source
    for line in lines:
        assert line in source, line
        source = source.replace(line, "")
    monkeypatch.setattr(script, "source", source)
    monkeypatch.setattr(script, "digest", sha1(source.encode()).hexdigest())


def unique_index_skipped(monkeypatch, sale):
    receipt_and_token_forgotten(monkeypatch, sale)
    insert = bulk.insert

    def careless(model, rows, **options):
        if "(source, seq)" in options.get("on_conflict", ""):
            options["on_conflict"] = ""
        return insert(model, rows, **options)

    monkeypatch.setattr(bulk, "insert", careless)
    return without_constraints("orders_order", "order_once_per_source_and_seq")


def receipt_and_token_forgotten(monkeypatch, sale):
    alter(
        monkeypatch,
        admission._ADMIT,
        "redis.call('SET', KEYS[5], customer .. ' ' .. ARGV[5] .. ' ' .. ARGV[4], 'EX', ARGV[9])\n",
        "redis.call('DEL', KEYS[3])\n",
    )


def token_not_deleted(monkeypatch, sale):
    alter(monkeypatch, admission._ADMIT, "redis.call('DEL', KEYS[3])\n")


def stream_acknowledged_before_the_commit_and_killed(monkeypatch, sale):
    def careless(self, entries):
        gate.ack(sale.item.pk, entries)
        raise Killed

    monkeypatch.setattr(deduct_inventory.Deduction, "run", careless)


def stream_entry_lost(monkeypatch, sale):
    claim = gate.claim

    def careless(item, **options):
        client = gate_client()
        oldest = client.xrange(keys.admitted(item), count=1)
        if oldest:
            client.xdel(keys.admitted(item), oldest[0][0])
        return claim(item, **options)

    monkeypatch.setattr(gate, "claim", careless)


def accepted_without_a_stream_entry(monkeypatch, sale):
    alter(monkeypatch, admission._ADMIT, "redis.call('XADD', KEYS[9], '*', 'o', line)\n")


def release_that_keeps_the_hold(monkeypatch, sale):
    alter(monkeypatch, decided._RELEASE, "    redis.call('HDEL', KEYS[3], order)\n")


def hold_leaked(monkeypatch, sale):
    monkeypatch.setattr(gate, "release", lambda *_, **__: EffectCode.DONE)


def effect_lost(monkeypatch, sale):
    monkeypatch.setattr(gate, "settle", lambda *_: EffectCode.DONE)


def effect_never_written(monkeypatch, sale):
    monkeypatch.setattr(outbox, "tell", lambda *_: None)


def refund_dropped(monkeypatch, sale):
    monkeypatch.setattr(payments, "request_refund", lambda *_: None)


def idempotency_key_forgotten(monkeypatch, sale):
    charge = Sandbox.charge

    def careless(self, requests, **more):
        sent = {new_uuid().hex: request for request in requests}
        groups = charge(self, [replace(request, key=key) for key, request in sent.items()], **more)
        return [[replace(result, request=sent[result.request.key]) for result in group] for group in groups]

    monkeypatch.setattr(Sandbox, "charge", careless)


def cent_lost(monkeypatch, sale):
    exact = payment._payment

    def careless(order, method):
        request = exact(order, method)
        return replace(request, amount=request.amount - Decimal("0.01"))

    monkeypatch.setattr(payment, "_payment", careless)


def settled_without_a_row(monkeypatch, sale):
    monkeypatch.setattr(inventory, "sell_units", lambda *, item_id, requests: frozenset(requests))


def update_without_its_guard(monkeypatch, sale):
    guard = " AND i.available >= total.units"
    assert guard in inventory._RESERVE
    monkeypatch.setattr(inventory, "_RESERVE", inventory._RESERVE.replace(guard, ""))
    monkeypatch.setattr(gate, "configure", lambda *_: EffectCode.DONE)
    inventory.adjust_stock(item_id=sale.item.pk, units=-10, actor="staff", reason="the gate is not told")
    return without_constraints("inventory_saleitem", "item_available_not_negative", "inventory_saleitem_available_check")


def limit_not_looked_at(monkeypatch, sale):
    alter(
        monkeypatch,
        admission._ADMIT,
        "if units + tonumber(redis.call('HGET', KEYS[6], customer) or '0') > per_customer then return {11} end\n",
    )


def paid_order_cancelled(monkeypatch, sale):
    sources = transitions.sources_of
    extra = {OrderStatus.CANCELLED: [OrderStatus.PAID]}
    monkeypatch.setattr(transitions, "sources_of", lambda target: sources(target) + extra.get(target, []))
    return without_constraints("inventory_saleitem", "item_reserved_not_negative", "inventory_saleitem_reserved_check")


def price_written_into_the_gate_and_not_looked_at(monkeypatch, sale):
    gate_client().hset(keys.meta(sale.item.pk), "price", "0.01")
    monkeypatch.setattr(terms, "judge", lambda *_: terms.Judged())


PLANTED = [
    (unique_index_skipped, "one_order_per_source_and_seq"),
    (receipt_and_token_forgotten, "same_request_same_answer"),
    (token_not_deleted, "one_order_per_token"),
    (stream_acknowledged_before_the_commit_and_killed, "acknowledged_orders_are_kept"),
    (stream_entry_lost, "acknowledged_orders_are_kept"),
    (accepted_without_a_stream_entry, "acknowledged_orders_are_kept"),
    (release_that_keeps_the_hold, "gate_adds_up"),
    (hold_leaked, "gate_equals_ledger"),
    (effect_lost, "gate_equals_ledger"),
    (effect_never_written, "gate_equals_ledger"),
    (refund_dropped, "late_money_is_refunded"),
    (idempotency_key_forgotten, "provider_and_shop_agree"),
    (cent_lost, "every_cent_is_right"),
    (price_written_into_the_gate_and_not_looked_at, "every_cent_is_right"),
    (settled_without_a_row, "movements_are_those_of_the_orders"),
    (update_without_its_guard, "nothing_is_oversold"),
    (limit_not_looked_at, "nobody_is_over_the_limit"),
    (paid_order_cancelled, "only_legal_transitions"),
]


def test_the_same_sale_passes_with_nothing_planted(sale):
    sale.trade()

    verdict = sale.verdict()

    assert (verdict.outcome, verdict.broken) == ("passed", frozenset()), verdict.summary()


@pytest.mark.parametrize(("plant", "promise"), [pytest.param(*pair, id=pair[0].__name__) for pair in PLANTED])
def test_a_planted_fault_is_named(sale, monkeypatch, plant, promise):
    guard = plant(monkeypatch, sale)

    if guard is None:
        sale.trade()
        verdict = sale.verdict()
    else:
        with guard:
            sale.trade()
            verdict = sale.verdict()

    assert promise in verdict.broken, verdict.summary()
