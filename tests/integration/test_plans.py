"""What a statement costs when there are many orders; `make explain` shows the same of 1,000,000."""

import secrets

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from flashsale.core import bulk
from flashsale.core.ids import new_purchase_token, new_uuid
from inventory.errors import TokenInvalid
from orders.models import Intake
from tests.load import plans

pytestmark = pytest.mark.django_db(transaction=True)
ORDERS = 20_000


@pytest.mark.slow
def test_no_statement_of_the_hot_way_or_of_a_sweep_reads_a_large_table_whole():
    shop = plans.fill(ORDERS)
    big = plans.big_tables()

    said = list(plans.statements(shop))

    assert {f"{each.call}: {each.sql}": each.scans(big) for each in said if each.scans(big)} == {}
    assert {each.call for each in said} == plans.calls(shop).keys()
    assert {"orders_order", "orders_intake", "orders_effectbatch", "payments_payment", "inventory_stockmovement"} <= big


def test_a_token_that_is_none_costs_two_lookups(make_item, customer, order):
    item = make_item()

    with CaptureQueriesContext(connection) as asked, pytest.raises(TokenInvalid):
        order(item, customer, sku="thing", token=new_purchase_token(item.pk))

    tables = [query["sql"].partition(" FROM ")[2].split()[0] for query in asked]
    assert [table for table in tables if "orders_" in table] == ['"orders_intake"', '"orders_order"']


def test_no_value_is_too_long_for_the_indexes_of_the_intake():
    payload = {name: secrets.token_hex(5_000) for name in ("customer", "source", "seq")}

    [(pk,)] = bulk.insert(Intake, [{"id": new_uuid(), "item_id": 1, "payload": payload, "reason": ""}])

    assert Intake.objects.get(pk=pk).payload == payload
