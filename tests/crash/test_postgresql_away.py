"""PostgreSQL is away: the gate goes on selling up to the backlog bound, and all of it settles afterwards."""

from uuid import UUID

import pytest
from django.db import connection

from flashsale.core.redis_client import gate_client
from inventory.admission import gate, keys
from tests.conftest import eventually
from tests.crash.crowd import Crowd, call, order_body
from tests.crash.scene import open_sale
from tests.crash.settled import assert_all_paid

pytestmark = pytest.mark.django_db(transaction=True)
BACKLOG = 8


@pytest.fixture
def database(stack):
    """The server; whatever a test does to it, it runs again afterwards."""
    server = stack.servers["DATABASE_URL"]
    yield server
    if server.process.poll() is not None:
        server.start()
    connection.close()


def buy(url, sale, customer, token=None, method="pm_ok"):
    if token is None:
        path = f"/api/v1/sales/{sale.slug}/items/thing/purchase-tokens/"
        status, body, _ = call(url, "POST", path, {}, customer)
        assert status == 201, body
        token = body["token"]
    return token, call(url, "POST", "/api/v1/orders/", order_body(sale.slug, token, customer, method), customer)


def _seen(url, sale):
    status, catalog, _ = call(url, "GET", f"/api/v1/sales/{sale.slug}/")
    return status, catalog["items"][0]["remaining"]


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_orders_are_admitted_up_to_the_backlog_then_busy_and_all_settle(end, live_url, workers, sweeper, database, settings):
    settings.BACKLOG_LIMIT = BACKLOG
    sale = open_sale("away", customers=BACKLOG + 3, units=50)
    _, (status, body, _) = buy(live_url, sale, sale.customers[0])
    assert status == 202
    before = UUID(body["id"])
    assert_all_paid(sale, [before])

    connection.close()
    getattr(database, end)()
    answers = [buy(live_url, sale, customer) for customer in sale.customers[1:]]
    accepted = [UUID(body["id"]) for _, (status, body, _) in answers if status == 202]
    refused = [(token, *answer) for token, answer in answers if answer[0] != 202]

    assert len(accepted) == BACKLOG
    assert [(status, body["code"], headers["Retry-After"]) for _, status, body, headers in refused] == [(503, "busy", "2")] * 2
    waiting = call(live_url, "GET", f"/api/v1/orders/{accepted[0]}/", customer=sale.customers[1])
    assert (waiting[0], waiting[1]["status"]) == (200, "queued")
    known_to_the_ledger_alone = call(live_url, "GET", f"/api/v1/orders/{before}/", customer=sale.customers[0])
    assert (known_to_the_ledger_alone[0], known_to_the_ledger_alone[1]["code"]) == (503, "unavailable")
    assert known_to_the_ledger_alone[2]["Retry-After"]
    assert call(live_url, "GET", "/api/v1/orders/", customer=sale.customers[1])[0] == 503
    replayed = buy(live_url, sale, sale.customers[1], answers[0][0])[1]
    assert (replayed[0], replayed[1]["id"], replayed[2]["Idempotency-Replayed"]) == (202, str(accepted[0]), "true")
    eventually(lambda: _seen(live_url, sale) == (200, 50 - 1 - BACKLOG), within=3, what=lambda: _seen(live_url, sale))
    signed_in = call(live_url, "POST", "/api/v1/auth/token/", {"username": "x", "password": "y"})
    assert (signed_in[0], signed_in[1]["code"]) == (503, "unavailable")
    assert call(live_url, "GET", "/health/live")[0] == 200
    ready = call(live_url, "GET", "/health/ready")
    assert (ready[0], ready[1]["missing"][0]) == (503, "database")
    tokens = [token for token, *_ in refused]
    assert all(gate_client().exists(keys.token(sale.item, token)) for token in tokens)

    database.start()

    assert_all_paid(sale, [before, *accepted])
    late = [buy(live_url, sale, customer, token)[1] for customer, token in zip(sale.customers[-2:], tokens, strict=True)]
    assert [status for status, _, _ in late] == [202, 202]
    assert_all_paid(sale, [before, *accepted, *(UUID(body["id"]) for _, body, _ in late)])


def test_a_crowd_sees_no_500_while_postgresql_goes_and_comes_back(live_url, workers, sweeper, database):
    sale = open_sale("crowd", customers=600, units=600)

    with Crowd(live_url, sale) as crowd:
        eventually(lambda: len(crowd.acknowledged) > 20)
        database.kill()
        admitted = len(crowd.acknowledged)
        eventually(lambda: len(crowd.acknowledged) > admitted + 50, what=lambda: crowd.statuses)
        database.start()
        admitted = len(crowd.acknowledged)
        eventually(lambda: len(crowd.acknowledged) > admitted + 20)
    connection.close()

    assert crowd.faults() == ({}, [])
    assert_all_paid(sale, crowd.acknowledged)
    assert gate.waiting([sale.item]) == {sale.item: (0, 0)}
