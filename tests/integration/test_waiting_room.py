"""The waiting room: first come, first served, at the sale's pace, for as long as there is something to wait for."""

from itertools import pairwise

import pytest

from inventory import services
from inventory.admission import gate, waiting_room
from inventory.admission.gate import IssuedToken
from inventory.admission.waiting_room import Place
from inventory.errors import Ended, Paused, SoldOut, TicketLapsed
from inventory.models import Sale
from tasks import fairness, gate_sync
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


def test_the_first_pass_at_once_and_the_others_are_called_up_in_order_at_the_pace(line):
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


def test_a_lapsed_ticket_passes_its_turn_on(line, settings):
    room = line(rate=1)
    room.join(1)
    gone, here = room.join(2), room.join(3)
    for _ in range(settings.WAITING_ROOM_LAPSE_S + 1):
        room.now += S // 100
        room.ask(here, 3)

    room.now += settings.WAITING_ROOM_LAPSE_S * S - S // 100
    assert isinstance(room.ask(here, 3), IssuedToken)

    with pytest.raises(TicketLapsed):
        room.ask(gone, 2)
    assert isinstance(room.join(2), Place | IssuedToken)


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


def test_no_more_are_called_up_than_there_is_hope_for(line):
    room = line(rate=1000, units=10)
    room.join(1)
    places = {customer: room.join(customer) for customer in range(2, 102)}
    for _ in range(20):
        room.now += S // 2
        for customer, place in list(places.items()):
            room.ask(place, customer)

    assert len(waiting_room.turns(room.item)) == 20  # twice the units


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
