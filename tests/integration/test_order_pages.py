"""A customer's orders page by page: each once, newest first, whatever moves meanwhile."""

import re
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from django.db import connection, transaction

from inventory.admission import gate
from orders.models import Intake, Order
from orders.services import create
from tasks.steps import deduct_inventory
from tests.conftest import client_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_workers")]


def next_of(answer):
    link = re.fullmatch(r'<(http://testserver/api/v1/orders/\?[^>]+)>; rel="next"', answer.headers.get("Link", ""))
    return link and link[1]


def ids(answer):
    assert answer.status_code == 200, answer.content
    return [order["id"] for order in answer.json()]


def walk(api, url="/api/v1/orders/"):
    """All pages from here on."""
    pages = []
    while url:
        answer = api.get(url)
        pages.append(ids(answer))
        url = next_of(answer)
    return pages


@pytest.fixture
def thirteen(no_workers, make_item, customer, order):
    """Orders of every kind, oldest first: rows, in the intake, claimed, queued."""
    item = make_item(units=200, per_customer=200)
    placed = []

    def place(count):
        placed.extend(str(order(item, customer).order_id) for _ in range(count))

    place(7)
    deduct_inventory.deduct_inventory.run(item.pk, claimed(item))
    create(row.pk for row in Intake.objects.all())
    place(2)
    deduct_inventory.deduct_inventory.run(item.pk, claimed(item))
    place(2)
    claimed(item)
    place(2)
    assert (Order.objects.count(), Intake.objects.count()) == (7, 2)
    return item, sorted(placed, reverse=True)


def claimed(item):
    entries = gate.claim(item.pk, consumer="test", limit=100, in_flight=1_000).entries
    return [[entry_id, order.as_payload()] for entry_id, order in entries]


@pytest.mark.parametrize("limit", [1, 3, 4, 12, 13, 100])
def test_the_pages_have_every_order_once_newest_first(api, thirteen, limit):
    _, newest_first = thirteen

    pages = walk(api, f"/api/v1/orders/?limit={limit}")

    assert [pk for page in pages for pk in page] == newest_first
    assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)
    assert 1 <= len(pages[-1]) <= limit


def test_without_a_limit_a_page_has_a_hundred_orders_at_most(api, thirteen, customer, order):
    item, newest_first = thirteen
    assert next_of(api.get("/api/v1/orders/")) is None
    more = [str(order(item, customer).order_id) for _ in range(87)]

    assert next_of(api.get("/api/v1/orders/")) is None
    more.append(str(order(item, customer).order_id))
    assert walk(api) == [sorted(more, reverse=True) + newest_first[:12], newest_first[12:]]


def test_orders_that_move_or_come_between_two_pages_leave_no_gap_and_come_up_once(api, thirteen, customer, order):
    item, newest_first = thirteen
    first = api.get("/api/v1/orders/?limit=3")
    order(item, customer)
    deduct_inventory.deduct_inventory.run(item.pk, claimed(item))
    create(row.pk for row in Intake.objects.all())

    rest = walk(api, next_of(first))

    assert ids(first) + [pk for page in rest for pk in page] == newest_first


def test_a_cursor_is_good_for_its_customer_only(api, thirteen, customers):
    _, newest_first = thirteen
    stranger = client_of(customers(1)[0])
    url = next_of(api.get("/api/v1/orders/?limit=3"))

    refused = stranger.get(url)

    assert (refused.status_code, list(refused.json()["errors"])) == (400, ["cursor"])
    assert not any(pk in refused.content.decode() for pk in newest_first)


@pytest.mark.parametrize("limit", ["0", "101", "-1", "1.5", "x", "", "1e2", "\u0661", "+5", " 5", "9" * 400, "%00"])
def test_a_limit_out_of_its_range_is_refused(api, limit):
    answer = api.get(f"/api/v1/orders/?limit={limit}")

    assert (answer.status_code, answer.json()["code"], list(answer.json()["errors"])) == (400, "invalid", ["limit"])


def test_a_cursor_that_is_none_is_refused(api, thirteen):
    good = parse_qs(urlsplit(next_of(api.get("/api/v1/orders/?limit=3"))).query)["cursor"][0]

    for bad in ("", "x", ":", "%00", "%ff", "\u00e9", "A" * 300, good[:-1], f"Z{good[1:]}", good.partition(":")[0], f"{good}x"):
        answer = api.get(f"/api/v1/orders/?cursor={bad}")
        assert (answer.status_code, list(answer.json()["errors"])) == (400, ["cursor"]), bad
    assert api.get("/api/v1/orders/", {"cursor": good}).status_code == 200


def test_a_page_is_found_in_the_index_of_its_customer(customer):
    page = Order.objects.filter(customer_id=customer.pk, pk__lt=UUID(int=2**127)).order_by("-pk")[:101]
    with transaction.atomic(), connection.cursor() as cursor:
        for way in ("seqscan", "bitmapscan", "sort"):  # cheaper for the few rows here
            cursor.execute(f"SET LOCAL enable_{way} = off")
        plan = page.explain()

    assert "Index Scan using order_by_customer" in plan
    assert "Sort" not in plan
