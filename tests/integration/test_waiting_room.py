"""The waiting room: first come, first served, at the sale's pace, for as long as there is something to wait for."""

from collections import Counter
from heapq import heappop, heappush
from itertools import pairwise

import pytest

from flashsale.core.redis_client import gate_client
from inventory import services
from inventory.admission import gate, keys, waiting_room
from inventory.admission.gate import IssuedToken
from inventory.admission.waiting_room import Place
from inventory.errors import Ended, LimitPerCustomer, Paused, SoldOut, TicketLapsed
from inventory.models import Sale
from orders import fairness
from tasks.repair import gate_sync
from tests.conftest import client_of, eventually

pytestmark = pytest.mark.django_db(transaction=True)
S = 1_000_000


class Line:
    """An item's waiting room in virtual time."""

    def __init__(self, item, start_us):
        self.item = item.pk
        self.now = start_us

    def join(self, customer):
        return waiting_room.join(self.item, customer, now_us=self.now)

    def ask(self, place, customer):
        return waiting_room.ask(place.ticket, customer, now_us=self.now)


@pytest.fixture
def line(make_item):
    from flashsale.core.clock import now, to_us

    def make(rate=10, **changes):
        return Line(make_item(room=rate, closes_in_s=36_000, **{"units": 100, **changes}), to_us(now()))

    return make


def sell_all(item, customers, order, *, method=""):
    """Every unit is held by an order that nobody has paid."""
    for buyer in customers:
        token = gate.issue_token(item, buyer.pk).token
        order(None, buyer, token=token, sku="thing", method=method)


@pytest.mark.slow
def test_first_pass_at_once_others_in_order_at_the_pace(line):
    room = line(rate=10)
    assert isinstance(room.join(1), IssuedToken)
    places = {customer: room.join(customer) for customer in range(2, 32)}

    assert [place.position for place in places.values()] == list(range(1, 31))
    called = []
    for _ in range(40):
        room.now += S // 10
        for customer in reversed(list(places)):  # whoever asks first is not whoever is first
            answer = room.ask(places[customer], customer)
            if isinstance(answer, IssuedToken) and customer not in called:
                called.append(customer)
        assert len(called) <= 1 + 10 * (room.now // S)

    assert [turn.customer for turn in waiting_room.turns(room.item)] == list(range(1, 32))
    times = [turn.called_at_us for turn in waiting_room.turns(room.item)]
    assert {later - earlier for earlier, later in pairwise(times)} == {S // 10}
    assert sorted(called) == list(range(2, 32))


def test_an_idle_line_saves_no_turns_up_for_a_crowd(line):
    room = line(rate=10)
    room.join(1)
    room.now += 3600 * S

    answers = [room.join(customer) for customer in range(2, 20)]

    assert sum(isinstance(answer, IssuedToken) for answer in answers) == 1


def test_whoever_joins_again_keeps_the_place_and_holds_only_one(line):
    room = line()
    room.join(1)
    first, second = room.join(2), room.join(3)

    again = room.join(2)

    assert again == first
    assert (first.position, second.position, room.join(4).position) == (1, 2, 3)
    assert waiting_room.counts(room.item)[0] == 4


def test_a_ticket_is_its_customers_alone(line):
    room = line()
    room.join(1)
    place = room.join(2)

    for ticket in (place.ticket, "rubbish", f"{room.item}.{'x' * 32}"):
        with pytest.raises(TicketLapsed):
            waiting_room.ask(ticket, 3, now_us=room.now)


def test_once_called_up_the_same_token_comes_again_until_it_is_used(line, customers, order):
    buyer = customers(1)[0]
    room = line()
    room.join(999)
    place = room.join(buyer.pk)
    room.now += S

    first = room.ask(place, buyer.pk)

    assert room.ask(place, buyer.pk).token == first.token
    assert room.join(buyer.pk).token == first.token
    order(None, buyer, token=first.token, sku="thing")
    with pytest.raises(TicketLapsed):
        room.ask(place, buyer.pk)


def test_the_moment_the_last_unit_is_gone_for_good_everybody_is_told(line, customers, order, workers, sweeper):
    room = line(units=2)
    places = [room.join(customer) for customer in range(1000, 1005)][1:]
    sell_all(room.item, customers(2), order, method="pm_ok")

    eventually(lambda: gate.snapshot(room.item).sold == 2)

    for customer, place in enumerate(places, 1001):
        with pytest.raises(SoldOut):
            room.ask(place, customer)
    with pytest.raises(SoldOut):
        room.join(2000)


@pytest.mark.parametrize(("budget", "bound_s"), [(1_000, 1), (100, 2), (10, 5)])
@pytest.mark.slow
def test_sold_out_reaches_the_line_within_its_poll_budget(line, customers, order, settings, budget, bound_s):
    settings.WAITING_ROOM_POLLS_PER_S = budget
    room = line(rate=10, units=100)
    gate_client().hset(keys.meta(room.item), "awake_until", 10**16)  # the orders stay at the gate
    waiting = 200
    buyers = {buyer.pk: buyer for buyer in customers(100 + waiting)}
    due: list[tuple] = [(room.now, number, pk, None) for number, pk in enumerate(buyers)]
    sold, sold_out_at, told, asked = 0, 0, {}, Counter()
    while due:
        room.now, number, pk, place = heappop(due)
        asked[room.now // S] += 1
        try:
            answer = room.ask(place, pk) if place else room.join(pk)
        except SoldOut:
            told[pk] = room.now
            continue
        if isinstance(answer, Place):
            heappush(due, (room.now + answer.retry_after_s * S, number, pk, answer))
            continue
        order(None, buyers[pk], token=answer.token, sku="thing")
        gate.settle(room.item, list(gate.snapshot(room.item).held))
        sold, sold_out_at = sold + 1, room.now

    assert (sold, len(told)) == (100, waiting)
    assert (max(told.values()) - sold_out_at) / S <= bound_s
    joined = min(asked)
    front = 6 * 10  # those whose own turn is near ask more often: six times the pace, however long the line
    assert max(count for second, count in asked.items() if second > joined) <= max(budget, (100 + waiting) / 5) + front


def test_while_much_is_left_a_crowd_that_came_in_one_second_asks_evenly_every_five(line):
    room = line(rate=10, units=10_000)
    room.join(1)
    far = {customer: room.join(customer) for customer in range(2, 402)}
    far = {customer: place for customer, place in far.items() if place.estimated_wait_s >= 20}

    firsts = Counter(place.retry_after_s for place in far.values())
    assert sorted(firsts) == [1, 2, 3, 4, 5]
    assert max(firsts.values()) - min(firsts.values()) <= 1
    began = room.now
    for customer, place in far.items():
        room.now = began + place.retry_after_s * S
        assert room.ask(place, customer).retry_after_s == 5


def test_while_units_may_come_back_the_line_waits_and_then_moves_on(line, customers, order):
    room = line(units=2)
    sell_all(room.item, customers(2), order)
    places = {customer: room.join(customer) for customer in (1000, 1001)}
    room.now += 10 * S

    waiting = room.ask(places[1000], 1000)
    assert (waiting.position, waiting.remaining) == (1, 0)

    gate.release(room.item, list(gate.snapshot(room.item).held))
    room.now += S

    assert isinstance(room.ask(places[1001], 1001), IssuedToken | Place)
    assert isinstance(room.ask(places[1000], 1000), IssuedToken)


def test_a_paused_sale_keeps_its_line_and_an_ended_one_sends_it_home(line):
    room = line()
    room.join(1)
    place = room.join(2)
    gate_sync.set_state("drop", Sale.State.PAUSED)
    room.now += 5 * S

    assert room.ask(place, 2).position == 1
    with pytest.raises(Paused):
        room.join(3)

    gate_sync.set_state("drop", Sale.State.ENDED)
    with pytest.raises(Ended):
        room.ask(place, 2)


@pytest.mark.slow
def test_no_more_are_called_up_than_there_is_hope_for(line):
    room = line(rate=1000, units=10)
    room.join(1)
    places = {customer: room.join(customer) for customer in range(2, 102)}
    for _ in range(20):
        room.now += S // 2
        for customer, place in list(places.items()):
            room.ask(place, customer)

    assert len(waiting_room.turns(room.item)) == 20  # twice the units


@pytest.mark.slow
def test_whoever_has_bought_holds_nobody_up_so_the_line_sells_out_at_its_pace(line, customers, order):
    units, rate = 60, 10
    room = line(rate=rate, units=units)
    waiting = {buyer.pk: (buyer, room.join(buyer.pk)) for buyer in customers(units + 10)}
    sold, began = 0, room.now
    while sold < units:
        for pk, (buyer, place) in list(waiting.items()):
            answer = place if isinstance(place, IssuedToken) else room.ask(place, pk)
            if isinstance(answer, IssuedToken):
                order(None, buyer, token=answer.token, sku="thing")
                sold += 1
                del waiting[pk]
        assert room.now - began <= units * S // rate
        room.now += S // rate

    assert gate.stocks([room.item]) == {room.item: 0}


def test_whoever_lets_a_turn_pass_holds_the_line_up_for_no_longer_than_a_turn(line, settings):
    room = line(rate=1000, units=1)
    room.join(1)
    places = {customer: room.join(customer) for customer in range(2, 12)}
    last = room.join(12)
    room.now += S
    turns = {customer: room.ask(place, customer) for customer, place in places.items()}
    assert sum(isinstance(turn, IssuedToken) for turn in turns.values()) == 9
    assert isinstance(room.ask(last, 12), Place)

    for _ in range(settings.WAITING_ROOM_TURN_S // 10):
        room.now += 10 * S
        answer = room.ask(last, 12)

    assert isinstance(answer, IssuedToken)
    assert answer.expires_at.timestamp() == pytest.approx(room.now / S + settings.WAITING_ROOM_TURN_S)


def test_whoever_used_a_turn_and_may_buy_more_stands_at_the_end_again(line, customers, order):
    buyer = customers(1)[0]
    room = line(per_customer=2)
    first = room.join(buyer.pk)
    assert room.join(2).position == 1
    order(None, buyer, token=first.token, sku="thing")

    assert room.join(buyer.pk).position == 2


def test_whoever_let_a_turn_pass_stands_at_the_end_again(line, settings):
    room = line()
    room.join(1)
    room.now += settings.WAITING_ROOM_TURN_S * S
    room.join(2)

    again = room.join(1)

    assert (again.position, waiting_room.counts(room.item)[0]) == (1, 3)


def test_whoever_has_all_they_may_buy_gets_no_turn(line, customers, order):
    buyer = customers(1)[0]
    room = line(units=5)
    first = room.join(buyer.pk)
    assert room.join(2).position == 1
    order(None, buyer, token=first.token, sku="thing")

    with pytest.raises(LimitPerCustomer):
        room.join(buyer.pk)

    assert (room.join(3).position, len(waiting_room.turns(room.item))) == (2, 1)


def test_whoever_buys_elsewhere_while_they_wait_gives_their_place_up(line, customers, order):
    buyer = customers(1)[0]
    room = line(units=5)
    room.join(1)
    place, behind = room.join(buyer.pk), room.join(3)
    sell_all(room.item, [buyer], order)

    with pytest.raises(TicketLapsed):
        room.ask(place, buyer.pk)
    assert room.ask(behind, 3).position == 1


@pytest.mark.slow
def test_over_http_rejoining_after_a_purchase_is_never_a_lapsed_ticket(make_item, customers):
    make_item(units=5, room=1, per_customer=2)
    buyer = client_of(customers(1)[0])
    url = "/api/v1/sales/drop/items/thing/purchase-tokens/"
    body = {"sku": "thing", "quantity": 1, "source": "shop"}
    token = buyer.post(url, {}, format="json").json()["token"]
    assert buyer.post("/api/v1/orders/", {**body, "token": token, "seq": "1"}, format="json").status_code == 202

    again = buyer.post(url, {}, format="json")
    assert again.status_code in (201, 202)
    if again.status_code == 202:
        place = f"/api/v1/waiting-room/{again.json()['ticket']}/"
        again = eventually(lambda: "token" in (answer := buyer.get(place)).json() and answer)
    body |= {"token": again.json()["token"], "seq": "2"}
    assert buyer.post("/api/v1/orders/", body, format="json").status_code == 202

    over = buyer.post(url, {}, format="json")
    assert (over.status_code, over.json()["code"]) == (409, "limit_per_customer")


@pytest.mark.slow
def test_over_http_a_ticket_becomes_a_token_becomes_an_order(make_item, customers):
    make_item(units=5, room=1)
    first, second, third = (client_of(buyer) for buyer in customers(3))
    url = "/api/v1/sales/drop/items/thing/purchase-tokens/"

    assert first.post(url, {}, format="json").status_code == 201
    waiting = second.post(url, {}, format="json")
    assert waiting.status_code == 202
    ticket = waiting.json()
    assert (ticket["position"], ticket["ahead"], ticket["remaining"]) == (1, 0, 5)
    assert ticket["retry_after"] == int(waiting["Retry-After"]) == 1

    place = f"/api/v1/waiting-room/{ticket['ticket']}/"
    stranger = third.get(place)
    assert (stranger.status_code, stranger.json()["code"]) == (404, "ticket_lapsed")
    called = eventually(lambda: (answer := second.get(place).json()).get("token") and answer)

    body = {"token": called["token"], "sku": "thing", "quantity": 1, "source": "shop", "seq": "1"}
    assert second.post("/api/v1/orders/", body, format="json").status_code == 202


def test_a_sale_without_a_waiting_room_has_no_line(make_item, customers):
    make_item(units=5)
    url = "/api/v1/sales/drop/items/thing/purchase-tokens/"

    assert [client_of(buyer).post(url, {}, format="json").status_code for buyer in customers(5)] == [201] * 5


def test_the_pace_is_a_term_of_the_sale_that_may_change(line):
    room = line(rate=1)
    room.join(1)
    place = room.join(2)
    Sale.objects.update(waiting_room_rate=1000)
    gate_sync.refresh_gates(services.touch_gate([room.item]))

    assert place.estimated_wait_s == 1
    room.join(3)
    assert room.join(4).estimated_wait_s == 1
    room.now += S
    assert isinstance(room.ask(place, 2), IssuedToken)


@pytest.mark.parametrize(
    ("values", "rho"), [([], None), ([7], None), ([1, 2, 3], 1.0), ([3, 2, 1], -1.0), ([2, 1, 4, 3], 0.6), ([5, 9, 11], 1.0)]
)
def test_the_rank_correlation_is_spearmans(values, rho):
    found = fairness.rank_correlation(values)
    assert found is rho if rho is None else found == pytest.approx(rho)


def test_the_report_shows_who_came_and_who_bought(line, capsys):
    from django.core.management import call_command

    room = line(rate=10)
    places = {customer: room.join(customer) for customer in range(1, 5)}
    for _ in range(5):
        room.now += S // 10
        for customer in (2, 3, 4):
            room.ask(places[customer], customer)

    call_command("waiting_room_report", "drop")

    assert "joined 4  called 4  lapsed 0  bought 0  call_up 1.0  success None" in capsys.readouterr().out
