"""Nobody jumps the line, nobody holds two places in it, and it outlives a gate that is rebuilt."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.management import call_command

from flashsale.core.clock import from_us, now, to_us
from flashsale.core.redis_client import gate_client
from inventory import services
from inventory.admission import keys, new_gates, waiting_room
from inventory.admission.gate import IssuedToken
from inventory.admission.waiting_room import Place
from inventory.errors import TicketLapsed, TokenUsed
from inventory.models import Sale
from orders import fairness
from orders.models import Order
from tasks import sweeps
from tasks.repair import gate_sync
from tests.conftest import client_of
from tests.integration.test_waiting_room import Line, S

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def line(make_item):
    def make(rate=10, **changes):
        return Line(make_item(room=rate, closes_in_s=36_000, **{"units": 100, **changes}), to_us(now()))

    return make


def test_a_customer_who_joins_from_many_sessions_at_once_has_one_place(line):
    room = line()
    room.join(1)
    with ThreadPoolExecutor(16) as sessions:
        joins = list(sessions.map(lambda customer: room.join(customer), [2, 3] * 40))

    assert len({join.ticket for join in joins}) == 2
    assert sorted({join.position for join in joins}) == [1, 2]
    assert gate_client().zcard(keys.line(room.item)) == 2
    assert waiting_room.counts(room.item)[0] == 3


def test_one_turn_is_one_order_from_however_many_sessions_and_sources(line, customers, order):
    buyer = customers(1)[0]
    room = line(per_customer=5)
    gate_client().hset(keys.meta(room.item), "awake_until", 10**16)  # the order stays at the gate
    room.join(999)
    place = room.join(buyer.pk)
    behind = room.join(1000)
    room.now += S // 10
    with ThreadPoolExecutor(16) as sessions:
        turns = list(sessions.map(lambda _: room.ask(place, buyer.pk), range(40)))
    (token,) = {turn.token for turn in turns}

    def spend(number):
        try:
            return order(None, buyer, token=token, sku="thing", source=f"shop-{number}", seq=str(number))
        except TokenUsed:
            return None

    with ThreadPoolExecutor(16) as sessions:
        orders = list(sessions.map(spend, range(16)))

    assert sum(one is not None for one in orders) == 1
    assert room.join(buyer.pk).position == room.ask(behind, 1000).position + 1


def test_a_place_in_one_items_line_is_none_in_anothers(line):
    room = line()
    other = services.add_item(
        sale=Sale.objects.get(slug="drop"), sku="other", name="other", units=5, price=Decimal("10.00"), per_customer=1
    )
    gate_sync.refresh_gates([other.pk])
    room.join(1)
    place = room.join(2)
    waiting_room.join(other.pk, 1, now_us=room.now)

    with pytest.raises(TicketLapsed):
        waiting_room.ask(f"{other.pk}.{place.ticket.partition('.')[2]}", 2, now_us=room.now)
    elsewhere = waiting_room.join(other.pk, 2, now_us=room.now)
    assert (elsewhere.position, room.ask(place, 2).position) == (1, 1)


def test_no_turn_is_spent_on_those_who_have_gone(line, settings):
    room = line(rate=10)
    room.join(1)
    for customer in range(2, 202):
        room.join(customer)
    room.now += S // 10
    here = room.join(1000)
    room.now += (settings.WAITING_ROOM_LAPSE_S - 1) * S
    room.ask(here, 1000)
    before = len(waiting_room.turns(room.item))
    room.now += 2 * S

    answers = [room.ask(here, 1000) for _ in range(3)]

    assert isinstance(answers[-1], IssuedToken)
    assert [turn.customer for turn in waiting_room.turns(room.item)[before:]] == [1000]


@pytest.mark.slow
@pytest.mark.timed
def test_a_position_never_rises_and_a_turn_comes_no_later_than_estimated(line):
    chance = random.Random(7)
    room = line(rate=10, units=10_000)
    places, promised = {}, {}
    for customer in range(200):
        room.now += chance.randrange(S // 20)
        for known in chance.sample(sorted(places), min(len(places), 8)):
            answer = room.ask(places[known], known)
            if isinstance(answer, IssuedToken):
                del places[known]
                continue
            assert answer.position <= places[known].position
            assert answer.estimated_wait_s <= places[known].estimated_wait_s
            places[known] = answer
        joined = room.join(customer)
        if isinstance(joined, Place):
            places[customer] = joined
            promised[customer] = room.now + joined.estimated_wait_s * S

    for _ in range(300):
        room.now += S // 10
        for customer in list(places):
            if isinstance(room.ask(places[customer], customer), IssuedToken):
                del places[customer]
    called = {turn.customer: turn.called_at_us for turn in waiting_room.turns(room.item)}
    assert not places
    assert all(called[customer] <= latest + S // 5 for customer, latest in promised.items())


def test_a_gate_that_is_rebuilt_keeps_its_line_in_order(line):
    room = line(rate=1)
    room.join(1)
    places = {customer: room.join(customer) for customer in range(2, 7)}
    gate_client().delete(keys.meta(room.item), keys.stock(room.item), keys.held(room.item), keys.buyers(room.item))
    assert new_gates.begin({room.item: 1}) == {room.item: False}

    assert [room.ask(place, customer).position for customer, place in places.items()] == [1, 2, 3, 4, 5]
    gate_client().delete(keys.meta(room.item))
    gate_sync.refresh_gates([room.item])
    newcomer = room.join(99)

    for _ in range(6):
        room.now += S
        for customer, place in ({99: newcomer} | places).items():
            room.ask(place, customer)
    assert [turn.customer for turn in waiting_room.turns(room.item)] == [1, 2, 3, 4, 5, 6, 99]


def test_of_an_ended_sale_no_key_of_the_line_stays(line, settings):
    room = line()
    room.join(1)
    place = room.join(2)
    closed = now() - timedelta(seconds=settings.GATE_RETENTION_S + 1)
    Sale.objects.update(opens_at=closed - timedelta(hours=1), closes_at=closed)
    sweeps.forget_gates()
    client = gate_client()

    with pytest.raises(Exception, match="prepared"):
        room.ask(place, 2)
    left = [key for key in client.scan_iter(f"fs:{{{room.item}}}:*") if client.ttl(key) < 0]
    assert left == []


def test_the_report_counts_a_purchase_for_the_turn_it_was_made_in(line, customers):
    first, second = customers(2)
    room = line(rate=10)
    began = room.now
    lines = [f"{first.pk} 1 {began}", f"{second.pk} 2 {began + S}", f"{first.pk} 3 {began + 2 * S}"]
    gate_client().rpush(keys.turns(room.item), *lines)
    bought_at = {second.pk: began + S + 1, first.pk: began + 3 * S}
    Order.objects.bulk_create(_order(room.item, customer, at_us) for customer, at_us in bought_at.items())

    (found,) = fairness.report("drop")

    assert (found.bought, found.success) == (2, 1.0)


@pytest.mark.slow
def test_the_report_of_fifty_thousand_turns_takes_no_more_than_seconds(line, customers, capsys):
    count, bought = 50_000, 2_000
    buyers = customers(bought)
    room = line()
    lines = [f"{buyer.pk} {place} {room.now + place}" for place, buyer in enumerate(buyers, 1)]
    lines += [f"{10_000_000 + place} {place} {room.now + place}" for place in range(bought + 1, count + 1)]
    gate_client().rpush(keys.turns(room.item), *lines)
    Order.objects.bulk_create(_order(room.item, buyer.pk, room.now + S + place) for place, buyer in enumerate(buyers))
    began = time.monotonic()

    call_command("waiting_room_report", "drop")

    assert f"called {count}  lapsed 0  bought {bought}  call_up 1.0  success 1.0" in capsys.readouterr().out
    assert time.monotonic() - began < 5


def _order(item, customer, at_us):
    from flashsale.core.ids import new_order_id

    return Order(
        id=new_order_id(item),
        item_id=item,
        customer_id=customer,
        quantity=1,
        unit_price="10.00",
        currency="EUR",
        source="shop",
        seq=f"{customer}",
        digest="00",
        status="paid",
        admitted_at=from_us(at_us),
        expires_at=from_us(at_us),
    )


def test_over_http_a_ticket_outlives_a_gate_that_is_put_up_anew(make_item, customers):
    item = make_item(units=5, room=1)
    clients = [client_of(buyer) for buyer in customers(3)]
    tickets = [client.post("/api/v1/sales/drop/items/thing/purchase-tokens/", {}, format="json").json() for client in clients]
    place = f"/api/v1/waiting-room/{tickets[2]['ticket']}/"
    gate_client().delete(keys.meta(item.pk), keys.stock(item.pk))

    meanwhile = clients[2].get(place)
    gate_sync.refresh_gates([item.pk])

    assert (meanwhile.status_code, meanwhile.json()["code"], meanwhile["Retry-After"]) == (409, "paused", "1")
    assert clients[2].get(place).status_code == 200
