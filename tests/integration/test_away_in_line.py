"""Whoever is away when their turn comes is passed over and keeps their place for two minutes."""

import random

import pytest

from flashsale.core.clock import now, to_us
from flashsale.core.redis_client import gate_client
from inventory.admission import gate, keys, waiting_room
from inventory.admission.gate import IssuedToken
from inventory.admission.waiting_room import Place
from inventory.errors import GateMissing, TicketLapsed
from orders import fairness
from tasks.repair import gate_sync
from tests.integration.test_waiting_room import Line, S

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def line(make_item):
    def make(rate=10, **changes):
        return Line(make_item(room=rate, closes_in_s=36_000, **{"units": 100, **changes}), to_us(now()))

    return make


def called(room):
    return [turn.customer for turn in waiting_room.turns(room.item)]


def test_by_default_a_place_is_kept_for_two_minutes(settings):
    assert (settings.WAITING_ROOM_LAPSE_S, settings.WAITING_ROOM_KEEP_PLACE_S) == (20, 120)


@pytest.mark.parametrize("away_s", [21, 60, 120])
def test_whoever_is_away_is_passed_over_and_is_next_when_they_are_back(line, away_s):
    room = line(rate=1)
    room.join(1)
    gone, here, behind = room.join(2), room.join(3), room.join(4)
    room.now += (away_s - 1) * S
    assert isinstance(room.ask(here, 3), IssuedToken | Place)
    room.ask(behind, 4)
    room.now += S

    answer = room.ask(gone, 2)
    room.now += S
    answer = answer if isinstance(answer, IssuedToken) else room.ask(gone, 2)

    assert isinstance(answer, IssuedToken)
    assert called(room) == [1, 3, 4, 2]
    assert waiting_room.counts(room.item) == (4, 0)


def test_whoever_is_back_stands_before_those_who_came_later_until_the_pace_allows_their_turn(line):
    room = line(rate=1)
    room.join(1)
    gone, here = room.join(2), room.join(3)
    behind = {customer: room.join(customer) for customer in range(4, 9)}
    room.now += 21 * S
    room.ask(here, 3)  # passes over the one in front; a line may catch up a second, so there are two turns
    room.ask(behind[5], 5)

    back = room.ask(gone, 2)

    assert (back.position, back.ticket) == (1, gone.ticket)
    assert [room.ask(behind[customer], customer).position for customer in (8, 7, 6, 4)] == [2, 2, 2, 2]
    room.now += S
    assert isinstance(room.ask(gone, 2), IssuedToken)
    assert called(room) == [1, 3, 5, 2]


def test_a_page_that_was_loaded_again_is_where_it_was_with_the_same_ticket(line):
    room = line(rate=1)
    room.join(1)
    gone, here, other = room.join(2), room.join(3), room.join(4)
    room.now += 21 * S
    room.ask(here, 3)
    room.ask(other, 4)

    again = room.join(2)

    assert (again.ticket, again.position) == (gone.ticket, 1)
    assert waiting_room.counts(room.item)[0] == 4


def test_after_two_minutes_the_place_is_gone(line, settings):
    room = line(rate=1)
    room.join(1)
    gone, here = room.join(2), room.join(3)
    room.now += 30 * S
    room.ask(here, 3)
    room.now += (settings.WAITING_ROOM_KEEP_PLACE_S - 30) * S + 1

    with pytest.raises(TicketLapsed):
        room.ask(gone, 2)

    assert waiting_room.counts(room.item) == (3, 1)
    again = room.join(2)
    assert again.ticket != gone.ticket if isinstance(again, Place) else called(room)[-1] == 2
    assert waiting_room.counts(room.item)[0] == 4


def test_those_who_never_come_back_are_forgotten_by_whoever_asks(line, settings):
    room = line(rate=1)
    room.join(1)
    for customer in range(2, 42):
        room.join(customer)
    for _ in range(settings.WAITING_ROOM_KEEP_PLACE_S // 5 + 3):
        room.now += 5 * S
        room.join(99)

    assert gate_client().zrange(keys.line(room.item), 0, -1) in ([], ["99"])
    assert gate_client().exists(keys.kept(room.item)) == 0
    assert waiting_room.counts(room.item)[1] == 40
    assert gate_client().hkeys(keys.tickets(room.item)) == ["99"]


def test_a_turn_that_nobody_comes_for_goes_to_the_next_and_the_place_is_kept(line, settings):
    room = line(rate=1000, units=1)
    room.join(1)
    places = {customer: room.join(customer) for customer in range(2, 12)}
    last = room.join(12)
    room.now += S
    assert isinstance(room.ask(last, 12), Place)  # ten have a turn, and nine of them do not come
    assert called(room) == list(range(1, 11))
    room.now += settings.WAITING_ROOM_LAPSE_S * S

    assert isinstance(room.ask(last, 12), IssuedToken)
    back = room.ask(places[2], 2)

    assert isinstance(back, IssuedToken)
    assert called(room) == [*range(1, 11), 12, 2]
    (found,) = fairness.report("drop")
    assert (found.called, found.forgotten) == (12, 0)


def test_no_more_are_called_up_than_there_is_hope_for_however_many_come_back(line, settings):
    room = line(rate=1000, units=10)
    room.join(1)
    places = {customer: room.join(customer) for customer in range(2, 102)}
    for _ in range(4):
        room.now += (settings.WAITING_ROOM_LAPSE_S + 1) * S
        for customer in places:
            room.join(customer)
        assert gate_client().zcard(keys.called(room.item)) <= 20


def test_one_request_passes_over_a_bounded_number(line, settings):
    room = line(rate=1000)
    room.join(1)
    for customer in range(2, 302):
        room.join(customer)
    room.now += (settings.WAITING_ROOM_LAPSE_S + 1) * S
    here = room.join(999)
    before = gate_client().zcard(keys.kept(room.item))

    room.ask(here, 999)

    assert gate_client().zcard(keys.kept(room.item)) - before <= 64


def test_asking_without_a_gate_keeps_the_place(line, settings):
    room = line(rate=1)
    room.join(1)
    place, behind = room.join(2), room.join(3)
    gate_client().delete(keys.meta(room.item), keys.stock(room.item))
    for _ in range(30):
        room.now += 10 * S
        with pytest.raises(GateMissing):
            room.ask(place, 2)
    gate_sync.refresh_gates([room.item])

    answer = room.ask(place, 2)

    assert isinstance(answer, IssuedToken) or answer.position == 1
    with pytest.raises(TicketLapsed):
        room.ask(behind, 3)


@pytest.mark.parametrize("lost", [keys.tickets, keys.seen])
def test_a_lost_key_of_the_line_takes_no_place_away(line, lost):
    room = line(rate=1)
    room.join(1)
    places = {customer: room.join(customer) for customer in range(2, 8)}
    gate_client().delete(lost(room.item))

    if lost is keys.tickets:
        with pytest.raises(TicketLapsed):
            room.ask(places[7], 7)
    positions = [room.join(customer).position for customer in (7, 6, 5, 4, 3, 2)]

    assert positions == [6, 5, 4, 3, 2, 1]


def test_whoever_asks_after_the_line_was_lost_stands_in_it_anew_with_the_same_ticket(line):
    room = line(rate=1)
    room.join(1)
    places = {customer: room.join(customer) for customer in range(2, 8)}
    gate_client().delete(keys.line(room.item))

    again = [room.ask(places[customer], customer) for customer in (7, 6, 5, 4, 3, 2)]

    assert [place.position for place in again] == [1, 2, 3, 4, 5, 6]
    assert [place.ticket for place in again] == [places[customer].ticket for customer in (7, 6, 5, 4, 3, 2)]


def test_the_list_of_turns_is_bounded_and_the_report_says_so(line):
    room = line(rate=1000, units=1000)
    began = room.now
    pipe = gate_client().pipeline()
    for first in range(0, 100_000, 10_000):
        pipe.rpush(keys.turns(room.item), *(f"{10**6 + n} {n} {began}" for n in range(first, first + 10_000)))
    pipe.hset(keys.meta(room.item), mapping={"line_called": 100_000, "line_joined": 100_000})
    pipe.execute()

    room.join(1)
    room.now += S
    room.join(2)

    assert gate_client().llen(keys.turns(room.item)) == 100_000
    assert called(room)[-2:] == [1, 2]
    (found,) = fairness.report("drop")
    assert (found.called, found.forgotten) == (100_002, 2)


def test_a_place_is_no_longer_kept_once_its_turn_has_been_taken(line, customers, order):
    buyer = customers(1)[0]
    room = line(rate=10, per_customer=2)
    room.join(999)
    place = room.join(buyer.pk)
    behind = room.join(1000)
    room.now += S // 10
    token = room.ask(place, buyer.pk).token
    assert gate_client().zcard(keys.kept(room.item)) == 0
    gate_client().hset(keys.meta(room.item), "awake_until", 10**16)
    order(None, buyer, token=token, sku="thing")

    assert room.join(buyer.pk).position == room.ask(behind, 1000).position + 1
    assert gate.stocks([room.item]) == {room.item: 99}


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_every_ticket_has_one_place_and_every_place_a_ticket(line, seed):
    chance = random.Random(seed)
    room = line(rate=5, units=20)
    places: dict[int, Place] = {}
    client = gate_client()
    for _ in range(400):
        room.now += chance.randrange(S) if chance.random() < 0.95 else chance.randrange(90 * S)
        customer = chance.randrange(1, 40)
        try:
            is_ask = customer in places and chance.random() < 0.8
            answer = room.ask(places[customer], customer) if is_ask else room.join(customer)
        except TicketLapsed:
            del places[customer]
            continue
        if isinstance(answer, Place):
            places[customer] = answer

        names = (keys.line, keys.kept, keys.called, keys.seen)
        in_line, kept, turns, seen = (set(client.zrange(name(room.item), 0, -1)) for name in names)
        assert not in_line & (kept | turns)
        assert seen == in_line | kept
        assert set(client.hkeys(keys.tickets(room.item))) == in_line | kept | turns
        assert len(turns) <= 40
