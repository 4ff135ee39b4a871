"""The shop as a customer uses it: a real browser, web process and worker."""

import os
import re
import shutil
from decimal import Decimal

import pytest
from playwright.sync_api import expect, sync_playwright

from inventory.admission import gate
from inventory.models import SaleItem
from orders.models import Order
from tasks.repair import gate_sync

# Playwright's sync API runs an event loop in this thread, which Django takes for async code.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"

CHROMIUM = shutil.which("chromium")
WITHIN_MS = 20_000
PASSWORD = "a browser's password"
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        CHROMIUM is None and "CHROMIUM_REQUIRED" not in os.environ,
        reason="no chromium on this machine: apt-get install chromium",
    ),
]


@pytest.fixture(scope="module")
def browser():
    assert CHROMIUM, "CHROMIUM_REQUIRED is set, and there is no chromium on this machine: apt-get install chromium"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], headless=True)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, live_url):
    context = browser.new_context(base_url=live_url, viewport={"width": 390, "height": 844})
    context.set_default_timeout(WITHIN_MS)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if "Content Security" in message.text else None)
    yield page
    context.close()
    assert complaints == []


@pytest.fixture
def shopper(page, django_user_model, settings):
    """The page, signed in."""
    django_user_model.objects.create_user("ada", password=PASSWORD)
    page.goto("/login/")
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Sign out ada")).to_be_visible()
    return page


def open_sale(page, *, left):
    page.goto("/sales/drop/")
    expect(page.get_by_text(f"{left} left", exact=True)).to_be_visible(timeout=WITHIN_MS)


def choose(page, payment):
    page.get_by_label("Payment").select_option(label=payment)


def buy_button(page):
    return page.get_by_role("button", name="Buy thing")


def expect_order(page, state):
    page.wait_for_url("**/orders/*/")
    expect(page.locator("#status")).to_have_text(f"Your order: {state}.", timeout=WITHIN_MS)


def test_a_rapid_double_click_buys_once_and_the_order_is_followed_to_paid(workers, make_item, shopper):
    make_item(units=10, per_customer=4)
    open_sale(shopper, left=10)
    choose(shopper, "Pay now: accepted test card")

    buy_button(shopper).dblclick()

    expect_order(shopper, "Paid")
    order = Order.objects.get()
    assert (order.source, order.quantity, order.status) == ("storefront", 1, "paid")
    expect(shopper.locator("#history li")).to_have_text([re.compile(s) for s in ("queue", "Reserved", "Waiting", "Paid")])
    expect(shopper.get_by_role("button", name="Cancel the order")).to_be_hidden()
    open_sale(shopper, left=9)


def test_an_order_to_be_paid_later_waits_and_its_cancellation_puts_the_units_back(workers, make_item, shopper):
    make_item(units=10, per_customer=2)
    open_sale(shopper, left=10)
    shopper.get_by_label("Quantity").fill("2")
    choose(shopper, "Pay later")
    buy_button(shopper).click()
    expect_order(shopper, "Waiting for payment")
    expect(shopper.get_by_role("timer")).to_have_text(re.compile(r"^00:0\d:\d\d$|^00:10:00$"))

    shopper.get_by_role("button", name="Cancel the order").click()

    expect_order(shopper, "Cancelled: by you")
    assert Order.objects.get().status == "cancelled"
    open_sale(shopper, left=10)


def test_a_declined_card_leaves_the_order_waiting_and_another_card_pays_it(workers, make_item, shopper):
    make_item(units=10)
    open_sale(shopper, left=10)
    choose(shopper, "Pay now: declined test card")
    buy_button(shopper).click()
    expect_order(shopper, "Waiting for payment")
    expect(shopper.get_by_text("The payment was declined.")).to_be_visible(timeout=WITHIN_MS)

    choose(shopper, "Pay now: accepted test card")
    shopper.get_by_role("button", name="Pay", exact=True).click()

    expect_order(shopper, "Paid")
    shopper.get_by_role("link", name="My orders").click()
    expect(shopper.get_by_role("listitem").filter(has_text="1 × thing")).to_contain_text("Paid")


def test_an_answer_lost_on_the_way_is_asked_for_again_and_finds_the_same_order(workers, make_item, shopper):
    make_item(units=10, per_customer=4)
    open_sale(shopper, left=10)
    bodies: list[str] = []

    def lose_the_first_answer(route):
        bodies.append(route.request.post_data)
        if len(bodies) > 1:
            route.continue_()
        else:
            assert route.fetch().status == 202
            route.abort()

    shopper.route("**/api/v1/orders/", lose_the_first_answer)
    buy_button(shopper).click()

    expect_order(shopper, "Paid")
    assert len(bodies) == 2
    assert bodies[0] == bodies[1]
    assert Order.objects.count() == 1


def test_a_purchase_without_any_answer_is_finished_by_another_click_after_a_reload(workers, make_item, shopper):
    make_item(units=10, per_customer=4)
    open_sale(shopper, left=10)
    bodies: list[str] = []

    def lose_the_request(route):
        bodies.append(route.request.post_data)
        route.abort()

    shopper.route("**/api/v1/orders/", lose_the_request)
    shopper.get_by_label("Quantity").fill("3")
    with shopper.expect_event("requestfailed", lambda request: request.url.endswith("/api/v1/orders/")):
        buy_button(shopper).click()
    shopper.reload()
    shopper.unroute("**/api/v1/orders/")
    expect(shopper.get_by_text("Your last purchase had no answer yet.")).to_be_visible()
    expect(shopper.get_by_label("Quantity")).to_be_disabled()
    expect(shopper.get_by_label("Quantity")).to_have_value("3")

    with shopper.expect_request("**/api/v1/orders/") as sent:
        buy_button(shopper).click()

    expect_order(shopper, "Paid")
    assert sent.value.post_data == bodies[0]
    assert Order.objects.get().quantity == 3


def test_a_busy_shop_is_asked_again_after_the_time_it_names(workers, make_item, shopper):
    make_item(units=10)
    open_sale(shopper, left=10)
    asked: list[str] = []

    def busy_once(route):
        asked.append(route.request.url)
        if len(asked) > 1:
            route.continue_()
        else:
            route.fulfill(status=503, json={"code": "busy"}, headers={"Retry-After": "1"})

    shopper.route("**/purchase-tokens/", busy_once)
    buy_button(shopper).click()

    expect(shopper.get_by_text("The shop is busy. Trying again…")).to_be_visible()
    expect_order(shopper, "Paid")
    assert len(asked) == 2


def test_a_purchase_made_offline_is_sent_when_the_device_is_back(workers, make_item, shopper):
    make_item(units=10)
    open_sale(shopper, left=10)
    shopper.clock.install()
    shopper.context.set_offline(True)
    buy_button(shopper).click()
    expect(shopper.get_by_text("This device is offline.")).to_be_visible()
    for _ in range(8):
        shopper.clock.fast_forward(5_000)
    expect(shopper.get_by_text("This device is offline.")).to_be_visible()

    shopper.context.set_offline(False)

    expect_order(shopper, "Paid")
    assert Order.objects.count() == 1


def test_a_refusal_is_a_plain_sentence_and_the_next_click_is_a_new_purchase(workers, make_item, shopper):
    make_item(units=10, per_customer=1)
    open_sale(shopper, left=10)
    buy_button(shopper).click()
    expect_order(shopper, "Paid")
    open_sale(shopper, left=9)

    buy_button(shopper).click()

    expect(shopper.get_by_text("You have already ordered as many of these as one customer may buy.")).to_be_visible()
    expect(buy_button(shopper)).to_be_enabled()
    assert shopper.evaluate("sessionStorage.length") == 0
    assert Order.objects.count() == 1


def test_a_price_that_changed_after_it_was_shown_is_shown_and_asked_for_again(workers, make_item, shopper):
    item = make_item(units=10, price="99.00")
    open_sale(shopper, left=10)
    shown = shopper.get_by_text("€99.00", exact=True)
    expect(shown).to_be_visible()
    shopper.route("**/api/v1/sales/drop/", lambda route: route.abort())  # the page does not hear of the new one
    SaleItem.objects.filter(pk=item.pk).update(price=Decimal("990.00"))
    gate_sync.refresh_gates([item.pk])

    buy_button(shopper).click()

    told = "The price is €990.00 now. Nothing was ordered. Press Buy to order at this price."
    expect(shopper.get_by_text(told)).to_be_visible()
    expect(shopper.get_by_text("€990.00", exact=True)).to_be_visible()
    expect(shown).to_have_count(0)
    assert (gate.stocks([item.pk]), Order.objects.count()) == ({item.pk: 10}, 0)
    buy_button(shopper).click()
    expect_order(shopper, "Paid")
    assert [str(price) for price in Order.objects.values_list("unit_price", flat=True)] == ["990.00"]


def test_price_changed_after_the_token_is_the_one_shown(workers, make_item, shopper):
    item = make_item(units=10, price="99.00")
    open_sale(shopper, left=10)

    def change_then_order(route):
        SaleItem.objects.filter(pk=item.pk).update(price=Decimal("990.00"))
        gate_sync.refresh_gates([item.pk])
        route.continue_()

    shopper.route("**/api/v1/orders/", change_then_order)
    buy_button(shopper).click()

    expect_order(shopper, "Paid")
    assert [str(price) for price in Order.objects.values_list("unit_price", flat=True)] == ["99.00"]


def test_the_countdown_goes_by_the_servers_clock_and_the_button_waits_for_the_opening(make_item, shopper):
    make_item(units=10, opens_in_s=4)
    shopper.clock.install(time="2001-01-01T00:00:00Z")
    shopper.goto("/sales/drop/")

    expect(shopper.get_by_role("timer")).to_have_text(re.compile(r"^00:00:0[0-4]$"))
    expect(buy_button(shopper)).to_be_disabled()

    expect(buy_button(shopper)).to_be_enabled(timeout=WITHIN_MS)
    expect(shopper.get_by_text("On sale", exact=True)).to_be_visible()


def test_a_hidden_tab_does_not_ask(make_item, page):
    make_item(units=10)
    page.add_init_script("Object.defineProperty(document, 'hidden', {get: () => window.name === 'hidden'})")
    open_sale(page, left=10)
    page.evaluate("() => { window.name = 'hidden'; }")
    asked: list[str] = []
    page.wait_for_timeout(1000)  # what was under way ends
    page.on("request", lambda request: asked.append(request.url))

    page.wait_for_timeout(3000)
    assert asked == []

    with page.expect_request("**/api/v1/sales/drop/"):
        page.evaluate("() => { window.name = ''; document.dispatchEvent(new Event('visibilitychange')); }")


def test_a_visitor_sees_the_stock_and_is_asked_to_sign_in(make_item, page):
    make_item(units=10)
    page.goto("/")
    page.get_by_role("link", name="drop").click()
    expect(page.get_by_text("10 left", exact=True)).to_be_visible()

    page.get_by_role("link", name="Sign in to buy").click()

    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert page.url.endswith("/login/?next=/sales/drop/")


@pytest.mark.parametrize("path", ["/orders/", "/orders/00000000-0000-7000-8000-000000000000/"])
def test_orders_are_shown_to_nobody_who_is_not_signed_in(page, path):
    page.goto(path)

    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
