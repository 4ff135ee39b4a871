"""The admission gate on a real Valkey: every refusal changes nothing."""

import pytest

from flashsale.core.ids import new_order_id
from flashsale.core.redis_client import gate_client
from inventory import errors, selectors
from inventory.admission import gate, keys, new_gates
from inventory.admission.codes import EffectCode
from orders import placement

pytestmark = pytest.mark.django_db(transaction=True)


def dump():
    """Everything in the gate's Redis."""
    return {key: value_of(key) for key in gate_client().scan_iter("fs:*")}


def value_of(key):
    client = gate_client()
    readers = {"string": client.get, "hash": client.hgetall, "stream": client.xrange, "set": client.smembers}
    return readers[client.type(key)](key)


def admit(item, customer, token, **changes):
    values = {"sku": item.product.sku, "units": 1, "source": "shop", "seq": "1", "digest": "ab" * 32, "method": ""} | changes
    return gate.admit(item.pk, customer=customer, token=token, order_id=new_order_id(item.pk), **values)


def test_an_admission_moves_every_key_at_once(make_item):
    item = make_item(units=5, per_customer=2)
    token = gate.issue_token(item.pk, 7).token

    admission = admit(item, 7, token, units=2)

    seen = gate.snapshot(item.pk)
    assert (seen.stock, seen.held, seen.buyers, seen.backlog) == (3, {admission.order_id: (7, 2)}, {7: 2}, 1)
    assert gate_client().get(keys.token(item.pk, token)) is None
    assert [order.id for order in gate.queued_of([item.pk], 7)] == [admission.order_id]
    assert 0 < gate_client().ttl(keys.spent(item.pk, token)) <= 300


def test_a_purchase_token_lives_five_minutes_and_has_at_least_128_random_bits(make_item):
    item = make_item()

    token = gate.issue_token(item.pk, 7).token

    assert 295 <= gate_client().ttl(keys.token(item.pk, token)) <= 300
    assert len(token.partition(".")[2]) * 6 >= 128


def test_a_repeated_request_gives_the_same_order(make_item):
    item = make_item()
    token = gate.issue_token(item.pk, 7).token
    first = admit(item, 7, token)
    before = dump()

    again = admit(item, 7, token)

    assert (again.order_id, again.replayed) == (first.order_id, True)
    assert dump() == before


REFUSALS = {
    "another customer's token": (errors.TokenInvalid, {}, {"customer": 8}),
    "an unknown token": (errors.TokenInvalid, {}, {"token": "1." + "x" * 32}),
    "another item's sku": (errors.TokenInvalid, {}, {"sku": "other"}),
    "more than a customer may have": (errors.QuantityOver, {}, {"units": 3}),
    "sold out": (errors.SoldOut, {"stock": 0}, {}),
    "not open": (errors.NotOpen, {"opens_at": 9_999_999_999_999_999}, {}),
    "over": (errors.Ended, {"closes_at": 1}, {}),
    "paused": (errors.Paused, {"state": "paused"}, {}),
    "ended by staff": (errors.Ended, {"state": "ended"}, {}),
    "being rebuilt": (errors.Paused, {"rebuilding": 4}, {}),
    "backlog full": (errors.Busy, {"backlog": 0}, {}),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_changes_nothing_and_leaves_the_token_usable(make_item, case):
    error, gate_values, request = REFUSALS[case]
    item = make_item(units=5, per_customer=2)
    token = gate.issue_token(item.pk, 7).token
    meta = gate_client().hgetall(keys.meta(item.pk))
    for name, value in gate_values.items():
        if name == "stock":
            gate_client().set(keys.stock(item.pk), value)
        else:
            gate_client().hset(keys.meta(item.pk), name, value)
    before = dump()
    values = {"customer": 7, "token": token} | request

    with pytest.raises(error):
        admit(item, **values)

    assert dump() == before
    gate_client().delete(keys.meta(item.pk))
    gate_client().hset(keys.meta(item.pk), mapping=meta)
    gate_client().set(keys.stock(item.pk), 5)
    assert not admit(item, 7, token).replayed


def test_a_receipt_of_another_body_or_another_customer_is_told_apart(make_item):
    item = make_item(units=5, per_customer=5)
    token = gate.issue_token(item.pk, 7).token
    admit(item, 7, token)
    before = dump()

    with pytest.raises(errors.IdempotencyMismatch):
        admit(item, 7, token, digest="cd" * 32)
    with pytest.raises(errors.SeqTaken):
        admit(item, 8, token)

    assert dump() == before


def test_an_order_id_that_is_held_already_is_refused_and_changes_nothing(make_item):
    item = make_item(units=5, per_customer=5)
    first = admit(item, 7, gate.issue_token(item.pk, 7).token)
    token = gate.issue_token(item.pk, 7).token
    request = {"sku": "thing", "units": 1, "source": "shop", "digest": "ab" * 32, "method": ""}
    before = dump()

    with pytest.raises(errors.Busy):
        gate.admit(item.pk, customer=7, token=token, order_id=first.order_id, seq="2", **request)

    assert dump() == before
    assert not admit(item, 7, token, seq="2").replayed


def test_a_used_token_says_so_only_to_its_customer(make_item):
    item = make_item(units=5, per_customer=5)
    token = gate.issue_token(item.pk, 7).token
    admit(item, 7, token)

    with pytest.raises(errors.TokenUsed):
        admit(item, 7, token, seq="2")
    with pytest.raises(errors.TokenInvalid):
        admit(item, 8, token, seq="3")


def test_a_release_counts_once_however_often_it_comes(make_item):
    item = make_item(units=5)
    admission = admit(item, 7, gate.issue_token(item.pk, 7).token)

    for _ in range(3):
        assert gate.release(item.pk, [admission.order_id]) is EffectCode.DONE

    seen = gate.snapshot(item.pk)
    assert (seen.stock, seen.sold, seen.held, seen.buyers) == (5, 0, {}, {})


def test_a_settled_hold_cannot_be_released(make_item):
    item = make_item(units=5)
    admission = admit(item, 7, gate.issue_token(item.pk, 7).token)
    gate.settle(item.pk, [admission.order_id])
    gate.settle(item.pk, [admission.order_id])

    gate.release(item.pk, [admission.order_id])

    seen = gate.snapshot(item.pk)
    assert (seen.stock, seen.sold, seen.held, seen.buyers) == (4, 1, {}, {7: 1})


def test_only_one_wake_up_a_second_is_asked_for(make_item):
    item = make_item(units=5, per_customer=5)
    wakes = [admit(item, 7, gate.issue_token(item.pk, 7).token, seq=str(n)).wake for n in range(3)]
    assert wakes == [True, False, False]

    gate.claim(item.pk, consumer="c", limit=10, in_flight=10)

    assert admit(item, 7, gate.issue_token(item.pk, 7).token, seq="4").wake


def test_a_claim_waits_while_enough_orders_are_in_flight(make_item):
    item = make_item(units=5, per_customer=5)
    for n in range(3):
        admit(item, 7, gate.issue_token(item.pk, 7).token, seq=str(n))

    first = gate.claim(item.pk, consumer="c", limit=2, in_flight=2)
    blocked = gate.claim(item.pk, consumer="c", limit=2, in_flight=2)
    more = gate.ack(item.pk, first.entries)

    assert (len(first.entries), blocked.entries, more) == (2, [], True)
    assert len(gate.claim(item.pk, consumer="c", limit=2, in_flight=2).entries) == 1


def test_an_entry_that_nobody_can_read_does_not_block_the_others(make_item):
    item = make_item(units=5)
    gate_client().xadd(keys.admitted(item.pk), {"o": "not json"})
    admission = admit(item, 7, gate.issue_token(item.pk, 7).token)

    claim = gate.claim(item.pk, consumer="c", limit=10, in_flight=10)

    assert [order.id for _, order in claim.entries] == [admission.order_id]
    assert len(claim.broken) == 1


def test_the_gate_survives_a_script_flush(make_item):
    item = make_item(units=5)
    gate_client().script_flush()

    assert gate.issue_token(item.pk, 7).token


def test_redis_away_is_said_and_nothing_is_half_done(make_item, stack, customer):
    item = make_item(units=5)
    token = gate.issue_token(item.pk, customer.pk).token
    server = stack.servers["REDIS_URL"]
    request = placement.OrderRequest(token=token, sku="thing", quantity=1, source="shop", seq="1")

    server.stop()
    try:
        with pytest.raises(errors.GateUnavailable):
            placement.place_order(customer.pk, request)
    finally:
        server.start()

    assert gate.snapshot(item.pk).stock == 5
    assert not placement.place_order(customer.pk, request).replayed


def test_a_killed_gate_loses_no_admitted_order(make_item, stack):
    item = make_item(units=5)
    admission = admit(item, 7, gate.issue_token(item.pk, 7).token)

    stack.servers["REDIS_URL"].kill()
    stack.servers["REDIS_URL"].start()

    assert [order.id for order in gate.stream_orders(item.pk)] == [admission.order_id]
    assert gate.snapshot(item.pk).stock == 4


def test_a_stopped_rebuilder_is_fenced_off(make_item):
    item = make_item(units=5)
    [terms] = selectors.terms([item.pk])
    assert new_gates.begin({item.pk: 9 * 10**15 + 1}) == {item.pk: True}

    late = new_gates.open_gates([new_gates.NewGate(terms, 9 * 10**15, 999, 0)])

    assert late == {item.pk: EffectCode.FENCED}
    assert new_gates.begin({item.pk: 9 * 10**15}) == {}
    assert new_gates.open_gates([new_gates.NewGate(terms, 9 * 10**15 + 1, 5, 0)]) == {item.pk: EffectCode.DONE}
    assert gate.stocks([item.pk]) == {item.pk: 5}
