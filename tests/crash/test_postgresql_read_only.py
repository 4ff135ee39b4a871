"""PostgreSQL takes no writes for a while (a failover, a standby, an administrator): no 500, and all settles afterwards."""

import time
from contextlib import contextmanager
from uuid import UUID

import psycopg2
import pytest
from django.db import OperationalError, connection

from inventory.models import Product, SaleItem
from orders.models import Order
from tasks.worker.connections import can_reach_ledger
from tests.conftest import eventually, running, start_worker
from tests.crash.crowd import Crowd, call
from tests.crash.scene import open_sale
from tests.crash.settled import assert_all_paid
from tests.crash.test_postgresql_away import buy

pytestmark = pytest.mark.django_db(transaction=True)
_SETTLED_S = 30


@contextmanager
def superuser(stack):
    link = psycopg2.connect(stack.servers["DATABASE_URL"].admin_url)
    link.autocommit = True
    try:
        with link.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = off")
            yield cursor
    finally:
        link.close()


@contextmanager
def read_only_server(stack):
    """Every session is read-only from its next transaction on."""
    with superuser(stack) as cursor:
        cursor.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        cursor.execute("SELECT pg_reload_conf()")
        eventually(lambda: not _writable())
        try:
            yield
        finally:
            cursor.execute("ALTER SYSTEM RESET default_transaction_read_only")
            cursor.execute("SELECT pg_reload_conf()")
            eventually(_writable)


@contextmanager
def read_only_sessions(stack):
    """Sessions that are opened within the block are read-only for as long as they live, and all are opened anew."""
    name = connection.settings_dict["NAME"]
    with superuser(stack) as cursor:
        cursor.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        connection.close()
        try:
            yield
        finally:
            cursor.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
            connection.close()


@pytest.fixture
def own_workers(no_workers):
    """Workers that end with the test, and with them the retries that they hold."""
    with running(start_worker("readonly")) as process:
        yield process


def _writable():
    with connection.cursor() as cursor:
        cursor.execute("SHOW transaction_read_only")
        return cursor.fetchone() == ("off",)


@pytest.mark.parametrize("state", [read_only_server, read_only_sessions])
def test_orders_are_admitted_nothing_is_a_500_and_all_settle(state, live_url, own_workers, sweeper, stack):
    sale = open_sale("readonly", customers=400, units=400)
    customer = sale.customers[0]
    _, (status, body, _) = buy(live_url, sale, customer, method="")
    assert status == 202
    unpaid = UUID(body["id"])
    eventually(lambda: Order.objects.filter(pk=unpaid, status="pending_payment").exists())
    path = f"/api/v1/orders/{unpaid}/"

    with state(stack):
        assert not can_reach_ledger()
        with Crowd(live_url, sale) as crowd:
            eventually(lambda: len(crowd.acknowledged) > 30)
        refused = [
            call(live_url, "POST", f"{path}cancel/", {}, customer),
            call(live_url, "POST", f"{path}pay/", {"payment_method": "pm_ok"}, customer),
        ]
        seen = call(live_url, "GET", path, customer=customer)
    writable_at = time.monotonic()
    paid = eventually(
        lambda: (answer := call(live_url, "POST", f"{path}pay/", {"payment_method": "pm_ok"}, customer))[0] != 503 and answer
    )
    assert_all_paid(sale, [unpaid, *crowd.acknowledged])
    took = time.monotonic() - writable_at

    assert {(answer[0], answer[1]["code"]) for answer in refused} == {(503, "unavailable")}
    assert all(answer[2]["Retry-After"] == "1" for answer in refused)
    assert (seen[0], seen[1]["status"]) == (200, "pending_payment")
    assert paid[0] == 202
    assert crowd.faults() == ({}, [])
    assert took < _SETTLED_S
    assert SaleItem.objects.get(pk=sale.item).sold == 1 + len(crowd.acknowledged)


def test_a_page_that_has_to_write_says_that_it_is_unavailable(client, django_user_model, stack):
    client.force_login(django_user_model.objects.create_superuser("boss"))
    client.raise_request_exception = False
    with read_only_server(stack):
        page = client.post("/admin/inventory/product/add/", {"sku": "new", "name": "new"})

    assert (page.status_code, page.headers["Retry-After"]) == (503, "1")
    assert b"Try again in a moment" in page.content
    assert not Product.objects.exists()


def test_a_session_that_was_made_read_only_is_not_kept(stack):
    with read_only_sessions(stack):
        with pytest.raises(OperationalError, match="read-only"):
            Order.objects.filter(pk=UUID(int=1)).update(reason="x")
        assert connection.connection is None
        assert not can_reach_ledger()
    Order.objects.filter(pk=UUID(int=1)).update(reason="x")
