"""The catalog costs next to nothing, whatever anybody asks it for, and knows a new sale within a second."""

import time
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from flashsale.core.clock import now
from inventory import catalog
from inventory.errors import UnknownSale
from inventory.models import Sale
from tests.conftest import eventually
from tests.crash.crowd import call

pytestmark = pytest.mark.django_db(transaction=True)


def make_sales(count, *, opens_in_s=3600):
    opens_at = now() + timedelta(seconds=opens_in_s)
    times = {"opens_at": opens_at, "closes_at": opens_at + timedelta(days=1), "payment_window": timedelta(minutes=10)}
    Sale.objects.bulk_create([Sale(slug=f"later-{n}", name="later", **times) for n in range(count)])


def test_slugs_that_somebody_makes_up_read_no_catalog(make_item, settings):
    settings.CATALOG_TTL_S = 60.0
    make_item()
    assert catalog.sale("drop")["state"] == "live"

    began = time.monotonic()
    with CaptureQueriesContext(connection) as asked:
        for n in range(500):
            with pytest.raises(UnknownSale):
                catalog.sale(f"made-up-{n}")
    took = time.monotonic() - began

    assert len(asked) <= 1 + took / 0.1
    assert all('"slug" IN' in query["sql"] for query in asked)


@pytest.mark.timed
def test_new_sale_is_known_within_a_second_under_invented_slugs(make_item, settings):
    make_item(slug="old", sku="a")
    assert catalog.sale("old")
    make_item(slug="new", sku="b")
    assert catalog.sale("new")["items"][0]["remaining"] == 10

    make_item(slug="newer", sku="c")
    began = time.monotonic()

    def is_known():
        with pytest.raises(UnknownSale):
            catalog.sale(f"made-up-{time.monotonic()}")
        try:
            return catalog.sale("newer")
        except UnknownSale:
            return None

    eventually(is_known, within=2)
    assert time.monotonic() - began < settings.CATALOG_TTL_S + 0.5


def test_thousands_of_sales_are_not_read_every_second_and_each_is_found(make_item, customer, live_url):
    make_sales(600)
    running = make_item(slug="running")
    Sale.objects.filter(slug="later-599").update(opens_at=now() + timedelta(days=1), closes_at=now() + timedelta(days=2))

    listed = [sale["slug"] for sale in eventually(lambda: call(live_url, "GET", "/api/v1/sales/")[1])]
    eventually(lambda: call(live_url, "GET", "/api/v1/sales/later-599/")[0] == 200)

    assert (len(listed), "running" in listed, "later-599" in listed) == (500, True, False)
    path = "/api/v1/sales/running/items/thing/purchase-tokens/"
    assert call(live_url, "POST", path, {}, customer.pk)[0] == 201
    assert running.pk in catalog.item_ids()
