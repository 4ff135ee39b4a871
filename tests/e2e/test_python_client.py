"""The Python client over real HTTP."""

import asyncio
import inspect
import itertools
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime

import httpx
import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from rest_framework_simplejwt.tokens import AccessToken

import flashsale_client as shop
from flashsale.core.errors import FlashsaleError
from flashsale.ratelimit.rules import publish
from flashsale.ratelimit.rules.models import LimitRule
from flashsale.web import problem
from flashsale_client import errors
from flashsale_client.session import Session
from inventory.admission import gate
from tests.conftest import ROOT, eventually
from tests.e2e.browser import PASSWORD

pytestmark = pytest.mark.django_db(transaction=True)
_numbers = itertools.count()


class LosesAnswers(httpx.HTTPTransport):
    """The request reaches the server; its answer is lost, the first ``times`` times, on paths that end in ``path``."""

    def __init__(self, path, times):
        super().__init__()
        self.path, self.times, self.sent = path, times, 0

    def handle_request(self, request):
        response = super().handle_request(request)
        if request.url.path.endswith(self.path):
            self.sent += 1
            if self.sent <= self.times:
                response.read()
                response.close()
                raise httpx.ReadError("cut")
        return response


class Counts(httpx.HTTPTransport):
    """Remembers the method and path of each request."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def handle_request(self, request):
        self.seen.append((request.method, request.url.path))
        return super().handle_request(request)


@pytest.fixture
def slug():
    """The web process remembers a sale for a second, so every test has one of its own."""
    return f"client-{next(_numbers)}"


@pytest.fixture
def connect(live_url):
    """A client that is signed in as the user."""
    opened = []

    def make(user=None, **options):
        if user is not None:
            options["access_token"] = str(AccessToken.for_user(user))
        client = shop.Client(live_url, **options)
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.close()


@pytest.fixture
def wish(slug):
    """A request with a fresh purchase token."""

    def make(client, **changes):
        return shop.OrderRequest(client.purchase_token(slug, "thing").token, "thing", **changes)

    return make


@contextmanager
def server_that(acts):
    """A server of one's own; ``acts``: what it does with each connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        done = threading.Event()

        def serve():
            while not done.is_set():
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=acts, args=(connection, done), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        done.set()
        listening.shutdown(socket.SHUT_RDWR)


def test_the_example_of_the_clients_readme_buys_a_sneaker(live_url, workers, sweeper):
    call_command("seed_demo", force=True, verbosity=0)
    text = (ROOT / "clients" / "python" / "README.md").read_text(encoding="utf-8")
    script = text.partition("```python\n")[2].partition("```")[0]

    done = subprocess.run(
        [sys.executable, "-c", script.replace("http://127.0.0.1:8000", live_url)],
        env={"PYTHONPATH": str(ROOT / "clients" / "python")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.stdout.split()[1:] == ["paid"], done.stderr
    assert len(script.splitlines()) <= 15


def test_a_sale_is_read_without_an_account(connect, make_item, slug):
    make_item(units=7, slug=slug, price="12.50")
    client = connect()

    sale = client.sale(slug)

    assert (sale.slug, sale.state, sale.opens_at < sale.server_time < sale.closes_at) == (slug, "live", True)
    assert [(item.sku, item.price, item.remaining, item.sold_out) for item in sale.items] == [
        ("thing", Decimal("12.50"), 7, False)
    ]
    assert slug in [each.slug for each in client.sales()]
    with pytest.raises(errors.NotFound) as refused:
        client.sale("no-such-sale")
    assert (refused.value.code, refused.value.status) == ("not_found", 404)
    with pytest.raises(errors.NotAuthenticated):
        client.orders_page()


def test_a_lost_answer_is_repeated_and_makes_one_order(connect, make_item, customer, wish, slug, no_workers):
    make_item(slug=slug)
    transport = LosesAnswers("/orders/", 2)
    client = connect(customer, transport=transport)
    request = wish(client)

    accepted = client.place_order(request)

    assert (transport.sent, accepted.is_replay) == (3, True)
    assert [(order.id, order.seq) for order in client.orders()] == [(accepted.id, request.seq)]


def test_an_order_in_doubt_is_found_again_with_its_request(connect, make_item, customer, wish, slug, no_workers):
    make_item(slug=slug)
    request = wish(connect(customer))
    with pytest.raises(shop.OrderInDoubt) as doubt:
        connect(customer, transport=LosesAnswers("/orders/", 99)).place_order(request, deadline_s=0.5)

    kept = shop.OrderRequest.of(doubt.value.request.body())
    accepted = connect(customer).place_order(kept)

    assert kept == request
    assert accepted.is_replay
    assert [order.id for order in connect(customer).orders()] == [accepted.id]


@pytest.fixture
def one_order_a_minute(connect, customers):
    """A rule that is in force in the web process."""

    def start():
        rule = {"applies_to": "api:orders", "key": "customer", "algorithm": "token_bucket"}
        LimitRule.objects.create(name="one-order-a-minute", rate=1, window_ms=60_000, burst=1, **rule)
        publish.publish()
        probe = connect(customers(1, "probe")[0])

        def is_limited():
            with suppress(errors.TokenInvalid, errors.RateLimited):
                probe.place_order(shop.OrderRequest("nonsense", "thing"))
            with suppress(errors.TokenInvalid):
                try:
                    probe.place_order(shop.OrderRequest("nonsense", "thing"))
                except errors.RateLimited:
                    return True
            return False

        eventually(is_limited, what="the rule in force")

    return start


def test_a_limit_after_a_lost_answer_leaves_doubt_and_a_refusal_does_not(
    connect, make_item, customers, wish, slug, no_workers, one_order_a_minute
):
    item = make_item(slug=slug, units=2)
    first, other = customers(2)
    request = wish(connect(first))

    with pytest.raises(errors.TokenInvalid):
        connect(other, transport=LosesAnswers("/orders/", 1)).place_order(request)
    connect(first).place_order(request)
    one_order_a_minute()
    with pytest.raises(shop.OrderInDoubt) as doubt:
        connect(first, transport=LosesAnswers("/orders/", 1)).place_order(request)

    assert isinstance(doubt.value.__cause__, errors.RateLimited)
    assert gate.stocks([item.pk]) == {item.pk: 1}


def test_refusals_are_classes_with_what_the_shop_says(connect, make_item, customers, wish, slug, no_workers):
    make_item(slug=slug, units=1, price="10.00")
    first, second = customers(2)
    request, late = wish(connect(first)), wish(connect(second))

    with pytest.raises(errors.PriceChanged) as changed:
        connect(first).place_order(wish(connect(first), unit_price=Decimal("9.00")))
    with pytest.raises(errors.Invalid) as invalid:
        connect(first).place_order(wish(connect(first), quantity=0))
    with pytest.raises(errors.TokenInvalid):
        connect(first).place_order(shop.OrderRequest("nonsense", "thing"))
    connect(first).place_order(request)
    with pytest.raises(errors.TokenUsed):
        connect(first).place_order(shop.OrderRequest(request.token, "thing"))
    with pytest.raises(errors.IdempotencyMismatch):
        connect(first).place_order(shop.OrderRequest(request.token, "thing", quantity=2, seq=request.seq))
    with pytest.raises(errors.SeqTaken):
        connect(second).place_order(shop.OrderRequest(late.token, "thing", seq=request.seq))
    with pytest.raises(errors.SoldOut) as sold_out:
        connect(second).place_order(late)

    assert changed.value.unit_price == Decimal("10.00")
    assert list(invalid.value.errors) == ["quantity"]
    assert (sold_out.value.code, sold_out.value.status, sold_out.value.detail) == ("sold_out", 409, "Sold out.")


def test_a_limit_longer_than_the_deadline_is_raised_at_once(connect, make_item, customer, slug):
    make_item(slug=slug)
    client = connect(customer)
    for _ in range(10):  # as many unused tokens as a customer may have
        client.purchase_token(slug, "thing")

    began = time.monotonic()
    with pytest.raises(errors.RateLimited) as refused:
        client.purchase_token(slug, "thing")

    assert (refused.value.status, 290 < refused.value.retry_after <= 300, refused.value.earlier) == (429, True, ())
    assert time.monotonic() - began < 2


def test_a_request_is_repeated_no_sooner_than_the_shop_asks():
    moments = []

    def acts(connection, done):
        connection.recv(65536)
        moments.append(time.monotonic())
        refused = b"HTTP/1.1 503 x\r\nRetry-After: 1\r\nContent-Length: 15\r\nConnection: close\r\n\r\n" + b'{"code":"busy"}'
        connection.sendall(refused if len(moments) == 1 else b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")
        connection.close()

    with server_that(acts) as url, shop.Client(url) as client:
        assert client.sales() == []

    assert len(moments) == 2
    assert 1.0 <= moments[1] - moments[0] < 2.0


def test_a_frozen_server_costs_the_deadline_and_no_more():
    with server_that(lambda connection, done: done.wait(10)) as url:
        began = time.monotonic()
        with shop.Client(url, timeout_s=0.2, deadline_s=0.7) as client, pytest.raises(shop.NoAnswer) as failed:
            client.sales()

    assert len(failed.value.earlier) >= 1
    assert time.monotonic() - began < 1.2


def _ask(url):
    with shop.Client(url, timeout_s=0.3, deadline_s=0.3) as client:
        client.sales()


def _ask_in_a_loop(url):
    async def ask():
        async with shop.AsyncClient(url, timeout_s=0.3, deadline_s=0.3) as client:
            await client.sales()

    asyncio.run(ask())


@pytest.mark.parametrize("ask", [_ask, _ask_in_a_loop])
def test_a_body_without_an_end_is_given_up_in_time(ask):
    def trickles(connection, done):
        connection.recv(65536)
        with suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            while not done.wait(0.05):
                connection.sendall(b" ")

    with server_that(trickles) as url:
        began = time.monotonic()
        with pytest.raises(shop.NoAnswer):
            ask(url)

    assert time.monotonic() - began < 1.0


def _says(status, body, *headers):
    """A server with one answer."""

    def acts(connection, done):
        connection.recv(65536)
        lines = [b"HTTP/1.1 %d x" % status, b"Content-Length: %d" % len(body), b"Connection: close", *headers]
        connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        connection.close()

    return server_that(acts)


@pytest.mark.parametrize("body", [b"[]", b"{}", b'"x"', b"null", b'{"id":"no"}', b"<html>", b""])
def test_an_answer_of_another_server_leaves_an_order_in_doubt(body):
    with _says(202, body) as url, shop.Client(url, access_token="x", deadline_s=0.3) as client:
        with pytest.raises(shop.OrderInDoubt):
            client.place_order(shop.OrderRequest("token", "thing"))
        with pytest.raises((shop.BadAnswer, shop.NoAnswer)):
            client.sale("x")
        with pytest.raises((shop.BadAnswer, shop.NoAnswer)):
            client.purchase_token("x", "y")


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (409, b'{"code":"new_code","errors":["odd"]}', "new_code"),
        (502, b"<html>", "http_502"),
        (301, b"", "http_301"),
        (404, b"[]", "http_404"),
    ],
)
def test_a_refusal_of_an_unknown_kind_is_a_problem(status, body, code):
    with _says(status, body) as url, shop.Client(url, deadline_s=0.3) as client, pytest.raises(shop.Problem) as refused:
        client.sales()

    assert (type(refused.value), refused.value.code, refused.value.status) == (shop.Problem, code, status)


def test_a_date_in_retry_after_is_kept_to():
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True).encode()
    with _says(503, b"{}", b"Retry-After: " + later) as url, shop.Client(url) as client, pytest.raises(shop.Problem) as refused:
        client.sales()

    assert 85 < refused.value.retry_after <= 90


def test_a_sign_in_that_fails_leaves_no_doubt_about_an_order():
    with (
        _says(202, b"<html>") as url,
        shop.Client(url, username="a", password="b", deadline_s=0.3) as client,
        pytest.raises(shop.NoAnswer),
    ):
        client.place_order(shop.OrderRequest("token", "thing"))


def test_nobody_listening_leaves_no_doubt_about_an_order():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with shop.Client(f"http://127.0.0.1:{port}", access_token="x", deadline_s=0.3) as client, pytest.raises(shop.NoAnswer):
        client.place_order(shop.OrderRequest("token", "thing"))


def test_a_customer_waits_in_line_by_its_numbers_until_the_token_comes(connect, make_item, customers, slug, no_workers):
    make_item(slug=slug, units=10, room=2)
    buyers = customers(4)
    assert connect(buyers[0]).purchase_token(slug, "thing", wait_s=0).token
    seen = []
    for buyer in (buyers[1], buyers[2], buyers[1]):
        with pytest.raises(shop.StillWaiting) as waiting:
            connect(buyer).purchase_token(slug, "thing", wait_s=0)
        seen.append((waiting.value.place.ticket, waiting.value.place.number))
    assert seen[0] == seen[2] != seen[1]
    transport, places = Counts(), []
    client = connect(buyers[3], transport=transport)

    token = client.purchase_token(slug, "thing", wait_s=20, on_wait=places.append)
    accepted = client.place_order(shop.OrderRequest(token.token, "thing"))

    assert [place.position for place in places] == sorted((place.position for place in places), reverse=True)
    asked = [path.split("/")[3] for _, path in transport.seen]
    assert asked.count("sales") >= 2  # for the place, and for the line's numbers
    assert 1 <= asked.count("waiting-room") <= 2
    assert client.order(accepted.id).status == "queued"


@contextmanager
def _line_of(*told):
    """A server that gives a place in line, and then these answers; what is asked of it."""
    answers, asked = iter([(202, b'{"ticket":"t","position":2,"retry_after":1}'), *told]), []

    def acts(connection, done):
        asked.append(connection.recv(65536).split(b" ")[1])
        status, body = next(answers)
        connection.sendall(b"HTTP/1.1 %d x\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status, len(body), body))
        connection.close()

    with server_that(acts) as url, shop.Client(url, access_token="a") as client:
        yield client, asked


def test_a_line_without_numbers_is_waited_in_by_the_ticket():
    token = b'{"token":"x","expires_at":"2026-01-01T00:00:00Z"}'
    with _line_of((200, b'{"position":1,"retry_after":1}'), (200, token)) as (client, asked):
        assert client.purchase_token("s", "i").token == "x"

    assert asked == [b"/api/v1/sales/s/items/i/purchase-tokens/", *[b"/api/v1/waiting-room/t/"] * 2]


def test_a_pause_keeps_the_place_in_line_and_sold_out_ends_it():
    with _line_of((409, b'{"code":"paused"}'), (409, b'{"code":"sold_out"}')) as (client, asked), pytest.raises(errors.SoldOut):
        client.purchase_token("s", "i")

    assert len(asked) == 3


def test_a_failing_server_keeps_the_place_in_line():
    with (
        _line_of((503, b'{"code":"unavailable"}'), (404, b'{"code":"ticket_lapsed"}')) as (client, asked),
        pytest.raises(errors.TicketLapsed),
    ):
        client.purchase_token("s", "i")

    assert len(asked) == 3


def test_orders_are_paid_cancelled_and_paged(connect, make_item, customer, wish, slug, workers, sweeper):
    make_item(slug=slug, units=5, per_customer=3)
    client = connect(customer)
    ids = [client.place_order(wish(client)).id for _ in range(3)]
    for order_id in ids:
        waiting = client.wait_for_order(order_id, until={"pending_payment"}, deadline_s=20)
        assert not waiting.is_final

    client.pay(ids[0], "pm_ok")
    paid = client.wait_for_order(ids[0])
    cancelled = client.cancel(ids[1])
    with pytest.raises(errors.NotPayable):
        client.pay(ids[1], "pm_ok")
    with pytest.raises(errors.NotCancellable):
        client.cancel(ids[0])
    with pytest.raises(shop.OrderNotFinal) as waiting:
        client.wait_for_order(ids[2], deadline_s=0.2)

    assert (paid.status, paid.payment.status, paid.payment.amount) == ("paid", "succeeded", Decimal("10.00"))
    assert (cancelled.status, waiting.value.order.id) == ("cancelled", ids[2])
    assert [order.id for order in client.orders(limit=1)] == [order.id for order in client.orders()] == ids[::-1]
    assert client.orders_page(limit=2).cursor is not None


def test_an_access_token_is_renewed_when_it_expires(connect, make_item, slug):
    get_user_model().objects.create_user("ada", password=PASSWORD)
    expired = AccessToken.for_user(get_user_model().objects.get())
    expired.set_exp(lifetime=timedelta(seconds=-60))
    transport = Counts()

    signed_in = connect(username="ada", password=PASSWORD, transport=transport)
    assert list(signed_in.orders()) == []
    signed_in._flows.session.access = str(expired)
    assert list(signed_in.orders()) == []
    assert [path.removeprefix("/api/v1/") for _, path in transport.seen] == [
        "auth/token/",
        "orders/",
        "orders/",
        "auth/token/refresh/",
        "orders/",
    ]

    signed_in._flows.session.refresh, signed_in._flows.session.access = "nonsense", str(expired)
    assert list(signed_in.orders()) == []
    asked = iter([str(expired), str(AccessToken.for_user(get_user_model().objects.get()))])
    assert list(connect(access_token=lambda: next(asked)).orders()) == []
    with pytest.raises(errors.NotAuthenticated):
        connect(access_token=str(expired)).orders_page()
    with pytest.raises(errors.NotAuthenticated):
        connect(username="ada", password="wrong").orders_page()
    refresh = signed_in._flows.session.refresh
    signed_in.sign_out()
    with pytest.raises(errors.NotAuthenticated):
        connect(refresh_token=refresh).orders_page()


def test_threads_that_meet_an_expired_token_sign_in_once(connect):
    get_user_model().objects.create_user("ada", password=PASSWORD)
    transport = Counts()
    client = connect(username="ada", password=PASSWORD, transport=transport)

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda _: list(client.orders()), range(8))) == [[]] * 8

    assert transport.seen.count(("POST", "/api/v1/auth/token/")) == 1


def test_the_asynchronous_client_buys_and_reads_as_the_other_does(live_url, make_item, customer, slug, workers):
    make_item(slug=slug, units=2, per_customer=2)

    async def buy():
        async with shop.AsyncClient(live_url, access_token=str(AccessToken.for_user(customer))) as client:
            two = await asyncio.gather(*(client.buy(slug, "thing", payment_method="pm_ok") for _ in range(2)))
            settled = await asyncio.gather(*(client.wait_for_order(each.id) for each in two))
            with pytest.raises(errors.Problem) as refused:
                await client.buy(slug, "thing")
            return {order.id for order in settled}, [order async for order in client.orders(limit=1)], refused.value.code

    ids, orders, code = asyncio.run(buy())

    assert ({order.id for order in orders}, [order.status for order in orders]) == (ids, ["paid", "paid"])
    assert code in ("sold_out", "limit_per_customer")


def _public(kind):
    return {name for name, each in inspect.getmembers(kind) if not name.startswith("_") and inspect.isfunction(each)}


def test_both_clients_have_the_same_methods_with_the_same_arguments():
    for name in _public(shop.Client):
        other, one = inspect.signature(getattr(shop.AsyncClient, name)), inspect.signature(getattr(shop.Client, name))
        assert other.parameters == one.parameters, name
    assert _public(shop.AsyncClient) == _public(shop.Client)


# Of staff, of providers and of workers, or abstract.
_NEVER_TOLD = {
    "error",
    "refused",
    "not_enough_stock",
    "terms_unknown",
    "unread_order",
    "unread_message",
    "signature_invalid",
} | {
    "no_such_charge",
    "provider_unavailable",
}


def test_every_code_of_the_shop_is_a_class_of_the_client():
    def below(kind):
        return {kind} | {each for child in kind.__subclasses__() for each in below(child)}

    shops = {kind.code for kind in below(FlashsaleError)} | set(problem._STATUS) | set(problem._CODES.values())

    assert shops - set(errors.PROBLEMS) == _NEVER_TOLD


def test_no_secret_is_in_a_representation():
    session = Session.of("ada", "hunter2", "jwt-1", "jwt-2")
    request = shop.OrderRequest("secret-token", "thing")

    assert not any(secret in repr((session, request)) for secret in ("hunter2", "jwt-1", "jwt-2", "secret-token"))


def test_an_address_cannot_lead_elsewhere():
    with shop.Client("http://127.0.0.1:1") as client:
        for slug in ("..", ".", ""):
            with pytest.raises(ValueError, match="Not part of an address"):
                client.sale(slug)
    for url in ("ftp://x", "shop.example", ""):
        with pytest.raises(ValueError):
            shop.Client(url)
