"""PostgreSQL stands still (SIGSTOP): its kernel goes on acknowledging, so only our own patience ends a wait."""

import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from uuid import UUID

import psutil
import psycopg2
import pytest
from django.db import OperationalError, connection

from flashsale.core.database.patience import NoAnswer, patience, silence
from flashsale.core.redis_client import gate_client
from tasks.steps import create_orders
from tests.conftest import Process, eventually, running
from tests.crash.crowd import call
from tests.crash.scene import open_sale
from tests.crash.settled import assert_all_paid
from tests.crash.test_postgresql_away import buy
from tests.e2e.browser import Browser

pytestmark = pytest.mark.django_db(transaction=True)
_BOUND_S = 4.0  # the patience of a request and a second for a busy machine
_THREADS = 8  # of the web process
_RETRIED = re.compile(r"tasks\.create_orders\[\S+\] retry: .*(no answer from PostgreSQL|PostgreSQL did not answer)")


@contextmanager
def frozen(stack):
    """Every process of the server is stopped within the block."""
    main = psutil.Process(stack.servers["DATABASE_URL"].process.pid)
    connection.close()
    main.suspend()  # first, so that it starts no other
    children = main.children(recursive=True)
    for child in children:
        child.suspend()
    try:
        yield
    finally:
        for process in (*children, main):
            with suppress(psutil.NoSuchProcess):
                process.resume()


def timed(*args, **kwargs):
    started = time.monotonic()
    status, body, headers = call(*args, **kwargs)
    return status, body, headers, time.monotonic() - started


@pytest.fixture
def impatient_worker(no_workers):
    """A worker of the queues on the way of an order that waits for PostgreSQL no longer than 3 s."""
    queues = "dispatch,inventory,orders,payments,cancellations"
    command = ["celery", "-A", "flashsale", "worker", "-n", "impatient@%h", "-Q", queues, "-c", "2", "-l", "INFO"]
    with running(Process("impatient", *command, DATABASE_PATIENCE_S="3")) as process:
        eventually(lambda: gate_client().exists("fs:workers:dispatch"), within=30, what=process.text)
        yield process


@pytest.mark.timed
def test_a_frozen_postgresql_stops_no_admission_and_holds_nobody_for_ever(live_url, impatient_worker, sweeper, stack):
    sale = open_sale("frozen", customers=14, units=50)
    _, (status, body, _) = buy(live_url, sale, sale.customers[0])
    assert status == 202
    known = UUID(body["id"])
    assert_all_paid(sale, [known])
    look = (live_url, "GET", f"/api/v1/orders/{known}/", None, sale.customers[0])

    with frozen(stack):
        with ThreadPoolExecutor(_THREADS) as crowd:  # as many as there are threads, so each finds out
            looks = list(crowd.map(lambda _: timed(*look), range(_THREADS)))
        again = timed(*look)
        began = time.monotonic()
        answers = [buy(live_url, sale, customer)[1] for customer in sale.customers[1:]]
        took = time.monotonic() - began
        create_orders.create_orders.apply_async(args=([str(known)],))
        eventually(lambda: _RETRIED.search(impatient_worker.text()), within=20, what=impatient_worker.text)

    assert {(status, body["code"]) for status, body, *_ in (*looks, again)} == {(503, "unavailable")}
    assert all(headers["Retry-After"] for _, _, headers, _ in looks)
    assert max(seconds for *_, seconds in (*looks, again)) < _BOUND_S
    assert [status for status, *_ in answers] == [202] * 13
    assert took < 3.0, "an admission waits for nobody"
    acknowledged = [known, *(UUID(body["id"]) for _, body, _ in answers)]
    eventually(lambda: call(*look)[0] == 200, within=10)
    assert_all_paid(sale, acknowledged)


def test_a_frozen_postgresql_keeps_no_repeated_request_from_its_answer(live_url, workers, sweeper, stack):
    sale = open_sale("frozen-replay", customers=1, units=5)
    customer = sale.customers[0]
    token, (_, body, _) = buy(live_url, sale, customer)
    assert_all_paid(sale, [UUID(body["id"])])
    assert buy(live_url, sale, customer, token)[1][1]["status"] == "paid"

    with frozen(stack), ThreadPoolExecutor(_THREADS) as crowd:
        began = time.monotonic()
        answers = [answer for _, answer in crowd.map(lambda _: buy(live_url, sale, customer, token), range(2 * _THREADS))]
        took = time.monotonic() - began

    assert [(status, sorted(said), said["id"]) for status, said, _ in answers] == [(202, ["id", "status_url"], body["id"])] * (
        2 * _THREADS
    )
    assert all(headers["Idempotency-Replayed"] == "true" for *_, headers in answers)
    assert took < _BOUND_S
    eventually(lambda: buy(live_url, sale, customer, token)[1][1].get("status") == "paid", within=10)


@pytest.fixture
def heard(transactional_db, clean_redis):
    """The next test does not find this process's breaker open."""
    yield
    silence.succeeded()


@pytest.fixture
def silent_server(heard):
    """A port that takes connections and never says a word, as behind a network that swallows packets."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.timed
def test_a_connection_that_gets_no_answer_ends_in_time(silent_server):
    before = time.monotonic()
    with patience(0.3), pytest.raises(NoAnswer):
        psycopg2.connect(host="127.0.0.1", port=silent_server, user="u", dbname="d")

    assert 0.3 <= time.monotonic() - before < 1.5


@pytest.mark.timed
def test_a_statement_that_gets_no_answer_ends_in_time_and_so_does_its_connection(heard):
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        before = time.monotonic()
        with patience(0.3), pytest.raises(OperationalError, match="no answer from PostgreSQL"):
            cursor.execute("SELECT pg_sleep(5)")
    assert 0.3 <= time.monotonic() - before < 1.5
    assert not connection.is_usable()
    connection.close()

    with pytest.raises(NoAnswer, match="did not answer a moment ago"):
        connection.get_new_connection(connection.get_connection_params())
    silence.succeeded()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)


def test_nobody_gets_more_patience_than_he_has(heard):
    with patience(0.2), patience(5), connection.cursor() as cursor, pytest.raises(OperationalError):
        cursor.execute("SELECT pg_sleep(2)")
    connection.close()


@pytest.mark.timed
def test_a_browsers_customers_order_and_see_their_pages_while_postgresql_stands_still(live_url, stack, django_user_model):
    sale = open_sale("frozen-browser", customers=1, units=5)
    django_user_model.objects.create_user("ada", password="enigma-1815")
    browser = Browser(live_url).sign_in("ada", "enigma-1815")
    path = f"sales/{sale.slug}/items/thing/purchase-tokens/"
    assert browser.send("POST", path, {})[0] == 201

    with frozen(stack):
        began = time.monotonic()
        status, issued, _ = browser.send("POST", path, {})
        body = {"token": issued["token"], "sku": "thing", "quantity": 1, "source": "shop", "seq": "1"}
        accepted = browser.send("POST", "orders/", body)
        pages = [browser.send("GET", page) for page in ("/", f"/sales/{sale.slug}/", "/orders/")]
        took = time.monotonic() - began

    assert (status, accepted[0], [page[0] for page in pages]) == (201, 202, [200] * 3)
    assert all("Sign out ada" in page[1] for page in pages)
    assert took < 2.0


def _every_thread_reaches_postgresql(live_url, customer):
    with ThreadPoolExecutor(_THREADS) as crowd:
        answers = crowd.map(lambda _: call(live_url, "GET", "/api/v1/orders/", None, customer)[0], range(_THREADS))
        return set(answers) == {200}


def test_a_sign_out_is_never_refused_and_holds(live_url, stack, django_user_model):
    sale = open_sale("frozen-sign-out", customers=1, units=1)
    django_user_model.objects.create_user("ada", password="enigma-1815")
    browser = Browser(live_url).sign_in("ada", "enigma-1815")
    copy = {"Cookie": f"sessionid={browser.cookie('sessionid')}"}

    with frozen(stack):
        status, _, headers = browser.send("POST", "/logout/", form={})
        assert (status, headers["Location"], browser.cookie("sessionid")) == (302, "/", None)
        refused = lambda: Browser(live_url).send("POST", "orders/", {}, headers=copy)[0] == 401  # noqa: E731
        eventually(refused, within=5)
    again = Browser(live_url)
    eventually(lambda: again.send("POST", "auth/token/", {"username": "ada", "password": "enigma-1815"})[0] == 200)
    eventually(lambda: _every_thread_reaches_postgresql(live_url, sale.customers[0]))
