"""A customer in line, in a real browser: offline for a while, in a page that is loaded again, in a second tab, and too late."""

import re

import pytest
from playwright.sync_api import expect

from flashsale.core.redis_client import gate_client
from inventory.admission import keys, waiting_room
from orders.models import Order
from tests.browser.test_storefront import WITHIN_MS, browser, buy_button, expect_order, open_sale, page, pytestmark, shopper

__all__ = ["browser", "page", "pytestmark", "shopper"]
OTHERS = range(10**6, 10**6 + 60)
IN_LINE = re.compile(r"^You are number \d+ in line")


@pytest.fixture
def line(make_item):
    """An item with a line of others, and what makes them leave."""
    item = make_item(units=10, per_customer=4, room=1)
    for other in OTHERS:
        waiting_room.join(item.pk, other)

    def leave():
        gate_client().zrem(keys.line(item.pk), *OTHERS)

    item.leave = leave
    return item


def stand_in_line(page):
    open_sale(page, left=10)
    page.get_by_label("Quantity").fill("2")
    buy_button(page).click()
    expect(page.get_by_text(IN_LINE)).to_be_visible(timeout=WITHIN_MS)


def test_a_page_that_was_offline_for_fourteen_seconds_asks_again_at_once(workers, line, shopper):
    shopper.clock.install()
    stand_in_line(shopper)

    shopper.context.set_offline(True)
    for _ in range(14):
        shopper.clock.fast_forward(1_000)
        shopper.wait_for_timeout(30)  # the request fails
    expect(shopper.get_by_text("No answer from the shop. Trying again: your place in line is kept")).to_be_visible()
    shopper.clock.pause_at(shopper.evaluate("Date.now() + 1000"))  # so that nothing but the device's word wakes the page
    with shopper.expect_response("**/api/v1/waiting-room/*/"):
        shopper.context.set_offline(False)
    expect(shopper.get_by_text(IN_LINE)).to_be_visible(timeout=WITHIN_MS)

    shopper.clock.resume()
    line.leave()
    expect_order(shopper, "Paid")
    assert Order.objects.get().quantity == 2


def test_a_page_that_is_loaded_again_goes_on_waiting_without_a_fresh_button(workers, line, shopper):
    stand_in_line(shopper)
    places = gate_client().zrange(keys.line(line.pk), 0, -1)

    shopper.reload()

    expect(shopper.get_by_text(IN_LINE)).to_be_visible(timeout=WITHIN_MS)
    expect(buy_button(shopper)).to_be_disabled()
    assert set(gate_client().zrange(keys.line(line.pk), 0, -1)) <= set(places)
    line.leave()
    expect_order(shopper, "Paid")
    assert Order.objects.get().quantity == 2


def test_a_second_tab_finds_the_place_and_its_turn_is_taken_by_a_click(workers, line, shopper):
    stand_in_line(shopper)
    context = shopper.context
    shopper.close()
    second = context.new_page()

    second.goto("/sales/drop/")

    expect(second.get_by_text(IN_LINE)).to_be_visible(timeout=WITHIN_MS)
    expect(buy_button(second)).to_be_disabled()
    line.leave()
    expect(second.get_by_text("It is your turn: press Buy within a minute.")).to_be_visible(timeout=WITHIN_MS)
    assert Order.objects.count() == 0
    buy_button(second).click()
    expect_order(second, "Paid")
    assert Order.objects.count() == 1


def test_lost_place_is_explained_with_a_button_to_rejoin(line, shopper):
    stand_in_line(shopper)
    for name in (keys.line, keys.seen):
        gate_client().zremrangebyrank(name(line.pk), -1, -1)
    gate_client().delete(keys.tickets(line.pk))

    expect(shopper.get_by_text("Your place in line is gone")).to_be_visible(timeout=WITHIN_MS)
    expect(buy_button(shopper)).to_be_hidden()
    shopper.get_by_role("button", name="Stand in line again").click()

    expect(shopper.get_by_text(IN_LINE)).to_be_visible(timeout=WITHIN_MS)
    assert gate_client().hlen(keys.tickets(line.pk)) == 1


def test_a_page_far_back_in_line_reads_the_numbers_and_asks_with_its_ticket_only_when_its_turn_comes(workers, line, shopper):
    asked, read = [], []
    shopper.on("request", lambda request: asked.append(request.url) if "/api/v1/waiting-room/" in request.url else None)
    shopper.on("request", lambda request: read.append(request.url) if request.url.endswith("/thing/waiting-room/") else None)
    # As far back as nobody need be heard of: the numbers say that nobody is near.
    gate_client().hset(keys.meta(line.pk), mapping={"line_near": 1, "pace": 200 * 1_000_000})
    shopper.clock.install()
    stand_in_line(shopper)
    for _ in range(60):
        shopper.clock.fast_forward(1_000)
        shopper.wait_for_timeout(20)
    assert len(read) >= 8
    assert asked == []

    gate_client().hset(keys.meta(line.pk), mapping={"pace": 10_000, "line_slot": 0})
    shopper.clock.resume()
    line.leave()

    expect_order(shopper, "Paid")
    assert len(asked) <= 3
