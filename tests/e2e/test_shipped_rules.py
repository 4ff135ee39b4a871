"""The rules of a new installation, over real HTTP and real workers: they let a sale through and stop what they are for."""

import itertools

import pytest
from django.contrib.auth import get_user_model

from orders.models import Order
from tests.conftest import eventually
from tests.e2e.browser import PASSWORD, Browser

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shipped_rules")]
_numbers = itertools.count()


@pytest.fixture
def ada():
    return get_user_model().objects.create_user("ada", password=PASSWORD)


@pytest.fixture
def visitor(live_url, ada):
    """A browser of nobody yet, at a web process that has read the rules."""
    browser = Browser(live_url)
    eventually(lambda: '"api-address"' in browser.send("GET", "orders/")[2].get("RateLimit-Policy", ""), what="rules read")
    return browser


def order_of(client, slug, seq):
    status, issued, headers = client.send("POST", f"sales/{slug}/items/thing/purchase-tokens/", {})
    assert status == 201, issued
    assert '"api-customer"' in headers["RateLimit-Policy"]
    body = {"token": issued["token"], "sku": "thing", "quantity": 1, "source": "shop", "seq": seq, "payment_method": "pm_ok"}
    status, accepted, _ = client.send("POST", "orders/", body)
    assert status == 202, accepted
    return accepted["id"]


def test_shipped_rules_let_browser_and_program_buy(visitor, workers, sweeper, make_item):
    item = make_item(units=4, per_customer=2, slug=f"shipped-{next(_numbers)}")
    program = Browser(visitor.url)
    program.get_tokens()

    bought = {order_of(visitor.sign_in(), item.sale.slug, "1"), order_of(program, item.sale.slug, "2")}

    eventually(lambda: Order.objects.filter(pk__in=bought, status="paid").count() == 2, what="both paid")
    item.refresh_from_db()
    assert (item.available, item.reserved, item.sold) == (2, 0, 2)


def test_shipped_rules_stop_guesses_at_one_account(visitor, shipped_rules):
    guess = {"username": "ada", "password": "a guess"}
    most = shipped_rules["sign-in-account"].rate

    statuses = [visitor.send("POST", "auth/token/", guess)[0] for _ in range(most)]
    status, body, headers = visitor.send("POST", "auth/token/", {"username": "ada", "password": PASSWORD})

    assert statuses == [401] * most
    assert (status, body["code"]) == (429, "rate_limited")
    assert headers["RateLimit"].startswith('"sign-in-account";r=0')
    assert 0 < int(headers["Retry-After"]) <= 60
    assert visitor.send("POST", "auth/token/", {"username": "bob", "password": "x"})[0] == 401
