"""Who stands in line reads the numbers that everybody may read, and asks with the ticket only when it is time."""

import pytest
from rest_framework.test import APIClient

from flashsale.core.clock import now, to_us
from flashsale.core.redis_client import gate_client
from inventory.admission import gate, keys, waiting_room
from inventory.admission.gate import IssuedToken
from inventory.admission.waiting_room import Numbers
from inventory.errors import Ended, GateMissing, SoldOut, TicketLapsed
from inventory.models import Sale
from tasks.repair import gate_sync
from tests.conftest import client_of, eventually
from tests.integration.test_waiting_room import Line, S, sell_all

LINE = "/api/v1/sales/drop/items/thing/waiting-room/"
pytestmark = pytest.mark.django_db(transaction=True)


def sell_out(item, units):
    gate_client().set(keys.stock(item), 0)
    gate_client().hset(keys.meta(item), "sold", units)
    gate_client().hset(keys.buyers(item), "1", units)


class WatchedLine(Line):
    def watch(self):
        return waiting_room.watch([self.item], now_us=self.now)[self.item]


@pytest.fixture
def line(make_item):
    def make(rate=10, **changes):
        item = make_item(room=rate, closes_in_s=360_000, **{"units": 100_000, **changes})
        return WatchedLine(item, to_us(now()))

    return make


class Reader:
    """A customer who reads the numbers, as the storefront's page does."""

    def __init__(self, room, customer):
        self.room, self.customer = room, customer
        self.place = room.join(customer)
        self.asked_at, self.requests = room.now, 1
        self.token = self.place if isinstance(self.place, IssuedToken) else None

    def read(self, numbers):
        is_late = self.room.now - self.asked_at + 5 * S > numbers.check_in_every_s * S
        is_due = self.place.number <= numbers.check_in and is_late
        if self.place.number <= numbers.now_serving or is_due:
            self.requests, self.asked_at = self.requests + 1, self.room.now
            answer = self.room.ask(self.place, self.customer)
            self.token = answer if isinstance(answer, IssuedToken) else None


def run(room, readers, *, seconds, every_s=5):
    """Each reader looks once in ``every_s``; the publisher watches once a second."""
    for second in range(seconds):
        room.now += S
        numbers = room.watch()
        for reader in readers[second % every_s :: every_s]:
            if reader.token is None:
                reader.read(numbers)


def test_numbers_are_given_in_the_order_of_arrival_and_are_served_at_the_pace(line):
    room = line(rate=10)
    room.join(1)
    places = [room.join(customer) for customer in range(2, 52)]
    assert [place.number for place in places] == list(range(2, 52))

    first = room.watch()
    assert (first.now_serving, first.waiting, first.remaining, first.rate) == (1, 50, 100_000, 10.0)
    for _ in range(20):
        room.now += S // 10
        numbers = room.watch()

    assert numbers.now_serving == 21
    assert isinstance(room.ask(places[19], 21), IssuedToken)
    assert room.ask(places[20], 22).position == 1


@pytest.mark.slow
def test_line_of_readers_is_served_in_order_with_bounded_polls(line):
    room = line(rate=5)
    readers = [Reader(room, customer) for customer in range(1, 1_002)]
    began = room.now
    run(room, readers, seconds=210)

    assert all(reader.token for reader in readers)
    turns = waiting_room.turns(room.item)
    assert [turn.customer for turn in turns] == list(range(1, 1_002))
    assert turns[-1].called_at_us - began <= 201 * S
    assert waiting_room.counts(room.item) == (1_001, 0)
    assert max(reader.requests for reader in readers) <= 14  # however long the line; by polls it would be 41


@pytest.mark.slow
def test_whoever_is_far_may_be_silent_for_as_long_as_it_takes(line, settings):
    room = line(rate=1)
    room.join(1)
    here = [Reader(room, customer) for customer in range(2, 400)]
    far = room.join(400)
    run(room, here, seconds=3 * settings.WAITING_ROOM_KEEP_PLACE_S // 2)

    answer = room.ask(far, 400)

    assert (answer.number, answer.position) == (400, 400 - room.watch().now_serving)


def test_whoever_has_come_near_and_says_nothing_for_two_minutes_has_lost_the_place(line, settings):
    room = line(rate=1)
    room.join(1)
    here = [Reader(room, customer) for customer in range(2, 160)]
    gone = room.join(160)
    for _ in range(10_000):
        run(room, here, seconds=1)
        if gone.number <= room.watch().check_in:
            break
    run(room, here, seconds=settings.WAITING_ROOM_KEEP_PLACE_S + 1)

    with pytest.raises(TicketLapsed):
        room.ask(gone, 160)


@pytest.mark.slow
def test_no_turn_is_spent_on_those_who_joined_and_were_never_heard_of_again(line):
    room = line(rate=10)
    room.join(1)
    for customer in range(2, 3_002):
        room.join(customer)
    here = [Reader(room, customer) for customer in range(10_000, 10_020)]

    run(room, here, seconds=400)

    called = [turn.customer for turn in waiting_room.turns(room.item)]
    assert all(reader.token for reader in here)
    assert len([customer for customer in called if customer < 10_000]) <= 1 + 20 * 10  # as long as they were not away


@pytest.mark.slow
def test_half_of_a_line_leaves_and_the_other_half_is_served_at_the_whole_pace(line):
    room = line(rate=10)
    room.join(1)
    here = []
    for customer in range(2, 2_002):
        if customer % 2:
            here.append(Reader(room, customer))
        else:
            room.join(customer)
    began = room.now

    run(room, here, seconds=130)

    assert all(reader.token for reader in here)
    last = max(turn.called_at_us for turn in waiting_room.turns(room.item))
    assert last - began <= 1.25 * 1_000 / 10 * S


@pytest.mark.slow
def test_readers_of_a_line_that_stands_still_keep_their_places(line, customers, order):
    room = line(rate=10, units=2)
    sell_all(room.item, customers(2), order)
    readers = [Reader(room, customer) for customer in range(1_000, 1_300)]

    run(room, readers, seconds=300)
    gate.release(room.item, list(gate.snapshot(room.item).held))
    run(room, readers, seconds=30)

    assert waiting_room.counts(room.item) == (300, 0)
    assert [turn.customer for turn in waiting_room.turns(room.item)][:10] == list(range(1_000, 1_010))


def test_two_who_watch_serve_no_more_than_one(line):
    room = line(rate=10)
    for customer in range(1, 102):
        room.join(customer)
    for _ in range(50):
        room.now += S // 10
        assert room.watch() == room.watch()

    assert len(waiting_room.turns(room.item)) == 51


def test_a_line_that_nobody_stands_in_is_watched_without_a_write(line):
    room = line()
    before = gate_client().hgetall(keys.meta(room.item))

    numbers = room.watch()

    assert numbers == Numbers(0, 0, 15, 0, 100_000, 10.0, 5)
    assert gate_client().hgetall(keys.meta(room.item)) == before


def test_everybody_in_line_hears_its_end(line):
    room = line(units=1)
    room.join(999)
    room.join(1_000)
    gate_sync.set_state("drop", Sale.State.PAUSED)
    assert isinstance(room.watch(), Numbers)
    gate_sync.set_state("drop", Sale.State.OPEN)
    sell_out(room.item, 1)
    assert isinstance(room.watch(), SoldOut)
    gate_client().delete(keys.meta(room.item))
    assert isinstance(room.watch(), GateMissing)
    gate_sync.refresh_gates([room.item])
    gate_sync.set_state("drop", Sale.State.ENDED)
    assert isinstance(room.watch(), Ended)


def test_a_place_that_a_release_without_numbers_gave_is_not_lost_while_it_is_far(line, settings):
    room = line(rate=1)
    places = {customer: room.join(customer) for customer in range(1, 401)}
    here = [Reader(room, customer) for customer in range(2, 200)]
    gate_client().hdel(keys.meta(room.item), "line_near", "line_served")
    gate_client().zadd(keys.seen(room.item), {"400": room.now})  # as such a release writes it

    run(room, here, seconds=settings.WAITING_ROOM_KEEP_PLACE_S + 10)

    assert room.ask(places[400], 400).number == 400


def test_a_release_without_numbers_takes_who_is_far_for_somebody_who_has_just_asked(line):
    room = line(rate=1)
    for customer in range(1, 201):
        room.join(customer)

    just_asked = gate_client().zcount(keys.seen(room.item), room.now + 1, "+inf")

    assert just_asked == 199 - 120  # one has a turn, 120 are called up within two minutes


def test_over_http_anybody_reads_a_number_only_tickets_take_it(make_item, customers):
    make_item(units=5, room=1)
    clients = [client_of(buyer) for buyer in customers(2)]
    _, ticket = [client.post("/api/v1/sales/drop/items/thing/purchase-tokens/", {}, format="json").json() for client in clients]

    answer = APIClient().get(LINE)

    assert answer.status_code == 200
    assert answer.json() == {
        "now_serving": 1,
        "check_in": 2,
        "check_in_every": 15,
        "waiting": 1,
        "remaining": 5,
        "rate": 1.0,
        "retry_after": answer.json()["retry_after"],
    }
    assert answer["Cache-Control"] == "public, max-age=1"
    assert ticket["number"] == 2
    eventually(lambda: APIClient().get(LINE).json()["now_serving"] == 2)
    assert "token" in clients[1].get(f"/api/v1/waiting-room/{ticket['ticket']}/").json()


def test_over_http_a_line_that_is_none_or_has_ended_says_so(make_item):
    item = make_item(units=5, room=1)
    eventually(lambda: APIClient().get(LINE).status_code == 200)
    assert APIClient().get(LINE.replace("thing", "other")).status_code == 404

    sell_out(item.pk, 5)
    answer = eventually(lambda: (found := APIClient().get(LINE)).status_code == 409 and found)
    assert (answer.json()["code"], answer["Cache-Control"]) == ("sold_out", "no-store")


def test_over_http_a_sale_without_a_waiting_room_has_no_numbers(make_item):
    make_item(units=5)

    assert APIClient().get(LINE).status_code == 404
