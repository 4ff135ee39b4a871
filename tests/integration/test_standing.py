"""A page that was loaded again learns where its customer stands: places, orders, and what they may still buy."""

import pytest
from django.db import OperationalError, connection

from flashsale.core.clock import now, to_us
from flashsale.core.redis_client import gate_client
from inventory import services
from inventory.admission import gate, keys, waiting_room
from inventory.admission.gate import IssuedToken
from inventory.models import Sale
from orders import services as orders
from tasks.repair import gate_sync
from tests.conftest import client_of, eventually, keep_asleep

pytestmark = pytest.mark.django_db(transaction=True)
ME = "/api/v1/sales/drop/me/"
TOKENS = "/api/v1/sales/drop/items/thing/purchase-tokens/"


def me(api):
    answer = api.get(ME)
    assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store")
    return answer.json()


def settle(item):
    entries = gate.claim(item.pk, consumer="test", limit=100, in_flight=100).entries
    orders.deduct(item.pk, [order for _, order in entries])
    orders.create([order.id for _, order in entries])
    gate.ack(item.pk, entries)


def away(*_):
    raise OperationalError("the ledger is away")


def test_a_customer_of_whom_nothing_is_known_may_buy_all_that_one_may(make_item, api):
    make_item(per_customer=3)

    assert me(api) == {"tickets": [], "orders": [], "may_buy": {"thing": 3}}


def test_it_is_for_customers_and_for_sales_that_there_are(make_item, api, client):
    make_item()

    assert client.get(ME).status_code == 401
    assert (client.get(ME.replace("drop", "other")).status_code, api.get(ME.replace("drop", "other")).status_code) == (401, 404)
    assert api.post(ME, {}, format="json").status_code == 405


def test_the_ticket_is_found_again_with_the_place(make_item, customers):
    make_item(room=1, units=5)
    first, second, third = (client_of(customer) for customer in customers(3))
    assert [one.post(TOKENS, {}, format="json").status_code for one in (first, second, third)] == [201, 202, 202]
    ticket = third.get(ME).json()["tickets"][0]

    assert ticket["sku"] == "thing"
    assert (ticket["position"], ticket["ahead"], ticket["remaining"], ticket["retry_after"]) == (2, 1, 5, 1)
    assert third.get(f"/api/v1/waiting-room/{ticket['ticket']}/").json() | {"sku": "thing"} == ticket
    assert me(first)["tickets"][0].keys() == {"sku", "ticket", "token", "expires_at"}


def test_whoever_is_called_up_gets_to_know_with_the_token_that_the_ticket_gives(make_item, customers, order):
    make_item(room=1000, units=5)
    first, second = customers(2)
    api = client_of(second)
    client_of(first).post(TOKENS, {}, format="json")
    ticket = api.post(TOKENS, {}, format="json").json().get("ticket")
    called = eventually(lambda: "token" in (found := me(api)["tickets"][0]) and found)

    assert ticket in (None, called["ticket"])
    assert api.get(f"/api/v1/waiting-room/{called['ticket']}/").json()["token"] == called["token"]
    order(None, second, token=called["token"], sku="thing")
    assert me(api)["tickets"] == []


def test_it_counts_as_asking_so_whoever_was_away_is_back(make_item, customers):
    item = make_item(room=1, units=5, opens_in_s=-3600)
    customer = customers(1)[0]
    long_ago = to_us(now()) - 100_000_000
    waiting_room.join(item.pk, 999, now_us=long_ago)
    waiting_room.join(item.pk, customer.pk, now_us=long_ago)
    waiting_room.join(item.pk, 1000)  # passes over the one who is away

    assert gate_client().zrange(keys.kept(item.pk), 0, -1)[0] == str(customer.pk)
    tickets = me(client_of(customer))["tickets"]

    assert "token" in tickets[0] or tickets[0]["position"] == 1


def test_a_place_that_was_lost_is_none(make_item, customers):
    item = make_item(room=1, units=5, opens_in_s=-3600)
    customer = customers(1)[0]
    long_ago = to_us(now()) - 125_000_000
    waiting_room.join(item.pk, 999, now_us=long_ago)
    assert not isinstance(waiting_room.join(item.pk, customer.pk, now_us=long_ago), IssuedToken)

    assert me(client_of(customer))["tickets"] == []


def test_newest_ten_orders_of_a_sale_include_waiting_ones(no_workers, make_item, customer, order, api):
    item, other = make_item(units=50, per_customer=20), make_item(slug="other", per_customer=20)
    for each in (item, other):
        keep_asleep(each)
    elsewhere = order(other, customer).order_id
    made = [str(order(item, customer).order_id) for _ in range(8)]
    settle(item)
    keep_asleep(item)
    waiting = [str(order(item, customer).order_id) for _ in range(4)]

    found = me(api)

    newest_first = sorted(waiting + made, reverse=True)  # by id: two may be of one millisecond
    assert [each["id"] for each in found["orders"]] == newest_first[:10]
    assert {each["id"]: each["status"] for each in found["orders"]} == {
        each: "queued" if each in waiting else "reserved" for each in newest_first[:10]
    }
    assert found["may_buy"] == {"thing": 8}
    assert [each["id"] for each in api.get(ME.replace("drop", "other")).json()["orders"]] == [str(elsewhere)]


def test_nothing_of_another_customer_is_told(make_item, customers, order):
    item = make_item(room=1, units=5, per_customer=2)
    mine, other = customers(2)
    client_of(mine).post(TOKENS, {}, format="json")
    client_of(mine).post(TOKENS, {}, format="json")
    order(item, mine)

    assert me(client_of(other)) == {"tickets": [], "orders": [], "may_buy": {"thing": 2}}


def test_every_item_of_the_sale_is_told_of(make_item, customer, order, api):
    item = make_item(units=5, per_customer=2)
    second = services.add_item(
        sale=Sale.objects.get(), sku="more", name="more", units=5, price=item.price, per_customer=4, actor=""
    )
    gate_sync.refresh_gates([second.pk])
    keep_asleep(item)
    order(item, customer)

    assert me(api)["may_buy"] == {"thing": 1, "more": 4}


def test_without_a_gate_tickets_live_and_the_ledger_knows_limits(make_item, customer, order, api):
    item = make_item(room=1, units=5, per_customer=3)
    waiting_room.join(item.pk, 999)
    ticket = api.post(TOKENS, {}, format="json").json()["ticket"]
    keep_asleep(item)
    order(item, customer)
    settle(item)
    gate_client().delete(keys.meta(item.pk), keys.stock(item.pk), keys.buyers(item.pk))

    found = me(api)

    assert found["tickets"] == [{"sku": "thing", "ticket": ticket, "retry_after": 1}]
    assert found["may_buy"] == {"thing": 2}


def test_without_postgresql_it_answers_with_what_the_gate_knows(make_item, customer, order, api):
    item = make_item(units=5, per_customer=3)
    keep_asleep(item)
    order(item, customer)
    settle(item)
    keep_asleep(item)
    waiting = str(order(item, customer).order_id)
    me(api)

    with connection.execute_wrapper(away):
        found = me(api)

    assert ([each["id"] for each in found["orders"]], found["may_buy"]) == ([waiting], {"thing": 1})


def test_a_limit_may_be_put_on_it(make_item, api):
    from flashsale.ratelimit.rules import publish
    from flashsale.ratelimit.rules.models import LimitRule

    make_item()
    LimitRule.objects.create(
        name="me", applies_to="api:sale-me", key="customer", algorithm="token_bucket", rate=1, window_ms=60_000, burst=2
    ).full_clean()
    publish.publish()

    answers = [api.get(ME) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].json()["code"] == "rate_limited"
