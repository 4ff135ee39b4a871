"""What a customer writes is theirs alone: it is never taken for an id of ours, nor a ticket for a place that cannot be."""

import json

import pytest

from flashsale.core.ids import new_purchase_token
from flashsale.core.redis_client import gate_client
from inventory.admission import gate, keys
from inventory.models import SaleItem
from orders import services
from tasks.repair import gate_sync
from tests.conftest import client_of, keep_asleep

pytestmark = pytest.mark.django_db(transaction=True)


def queued_ids(item, customer):
    return [order.id for order in gate.queued_of([item.pk], customer.pk)]


def entries_of(item, *order_ids):
    return [entry for entry in gate.claim(item.pk, consumer="test", limit=10, in_flight=10).entries if entry[1].id in order_ids]


@pytest.mark.parametrize("end", ["ack", "release"])
def test_an_order_whose_seq_is_anothers_id_stays_queued_when_that_one_ends(make_item, customer, order, api, end):
    item = make_item(units=5, per_customer=5)
    keep_asleep(item)
    first = order(item, customer).order_id
    second = order(item, customer, seq=str(first)).order_id

    if end == "ack":
        ((entry_id, admitted),) = entries_of(item, first)
        services.deduct(item.pk, [admitted])
        gate.ack(item.pk, [(entry_id, admitted)])
    else:
        gate.release(item.pk, [first])

    assert queued_ids(item, customer) == [second]
    seen = api.get(f"/api/v1/orders/{second}/")
    assert (seen.status_code, seen.json()["status"], seen.json()["seq"]) == (200, "queued", str(first))


def test_a_line_that_cannot_be_read_hides_no_other_and_stays(make_item, customer, order, api):
    item = make_item(units=5, per_customer=5)
    keep_asleep(item)
    first, second = order(item, customer).order_id, order(item, customer).order_id
    queued = keys.queued(item.pk)
    newer = json.dumps({"id": str(second), "of": "another version"})
    lines = [str(gate_client().hget(queued, customer.pk)), newer, "not json"]
    gate_client().hset(queued, customer.pk, "\n".join(lines))

    assert api.get(f"/api/v1/orders/{first}/").json()["status"] == "queued"
    gate.release(item.pk, [second])

    assert queued_ids(item, customer) == [first]
    assert gate_client().hget(queued, customer.pk).endswith("\nnot json")


def ask(api, item):
    return api.get(f"/api/v1/waiting-room/{new_purchase_token(item)}/")


@pytest.mark.parametrize("item", [1, 999_999, 2**28 - 1])
def test_ticket_of_an_unknown_item_is_404_and_never_paused(make_item, api, item):
    make_item(room=1)

    answer = ask(api, item + SaleItem.objects.get().pk)

    assert (answer.status_code, answer.json()["code"]) == (404, "ticket_lapsed")


def test_ticket_of_deleted_item_is_404_of_missing_gate_paused(make_item, customers, settings):
    settings.CATALOG_TTL_S = 0
    item = make_item(units=0, room=1)
    api = client_of(customers(1)[0])
    gate_client().delete(keys.meta(item.pk))
    for_a_moment = ask(api, item.pk)
    gate_sync.forget_gates([item.pk])
    SaleItem.objects.all().delete()

    for_good = ask(api, item.pk)

    assert (for_a_moment.status_code, for_a_moment.json()["code"], for_a_moment["Retry-After"]) == (409, "paused", "1")
    assert (for_good.status_code, for_good.json()["code"]) == (404, "ticket_lapsed")
