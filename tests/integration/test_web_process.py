"""A web process as it runs, and clients that are unlike most."""

import select
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import connection, transaction
from rest_framework_simplejwt.tokens import AccessToken

from tests.conftest import eventually

pytestmark = pytest.mark.django_db(transaction=True)


def connected(url, *, receive_bytes=None):
    address = urlsplit(url)
    client = socket.socket()
    if receive_bytes:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    client.settimeout(3)
    client.connect((address.hostname, address.port))
    return client


def answer(url, raw):
    """The status and the body of one raw request."""
    with connected(url) as client:
        client.sendall(raw)
        found = b""
        while part := client.recv(65536):
            found += part
    head, _, body = found.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else 0, body


def post(target, *lines):
    return get(target, *lines).replace(b"GET", b"POST", 1)


def get(target, *lines):
    return b"\r\n".join([b"GET " + target + b" HTTP/1.1", b"Host: localhost", b"Connection: close", *lines, b"", b""])


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"/api/v1/sales/?q=\xff", 400),
        (b"/api/v1/sales/?q=%ff", 200),
        (b"/api/v1/sales/%ff/", 404),
        (b"/api/v1/sales/%ed%a0%80/", 404),
        (b"/api/v1/sales/a%2Fb/", 404),
        (b"/api/v1/sales/a;b/", 404),
        (b"//api/v1/sales/", 404),
        (b"/api/v1/waiting-room/%ff/", 404),
        (b"/api/v1/waiting-room/%ed%a0%80/", 404),
        (b"/api/v1/waiting-room/%00/", 404),
        (b"/api/v1/orders/0198F0C0-0000-7000-8000-000000000000/", 404),
    ],
)
def test_an_unusual_address_is_answered(live_url, customer, target, status):
    bearer = f"Authorization: Bearer {AccessToken.for_user(customer)}".encode()

    assert answer(live_url, get(target, bearer))[0] == status


def _largest_file():
    return max(Path(settings.STATIC_ROOT).rglob("*.js"), key=lambda path: path.stat().st_size)


def test_clients_that_do_not_read_hold_no_thread(live_url):
    name = _largest_file().relative_to(settings.STATIC_ROOT)
    with ExitStack() as clients:
        for _ in range(settings.WEB_THREADS * 4):
            client = clients.enter_context(connected(live_url, receive_bytes=2048))
            client.sendall(get(f"{settings.STATIC_URL}{name}".encode()))
            assert client.recv(12) == b"HTTP/1.1 200"
        assert answer(live_url, get(b"/health/live"))[0] == 200


def test_clients_that_leave_hold_no_thread(live_url):
    name = _largest_file().relative_to(settings.STATIC_ROOT)
    for _ in range(settings.WEB_THREADS * 4):
        with connected(live_url, receive_bytes=2048) as client:
            client.sendall(get(f"{settings.STATIC_URL}{name}".encode()))
            assert client.recv(12) == b"HTTP/1.1 200"
    assert answer(live_url, get(b"/health/live"))[0] == 200


def test_tokens_are_issued_while_every_thread_waits_for_postgresql(live_url, make_item, customer):
    item = make_item(units=5, per_customer=5, slug=f"stuck-{uuid4().hex[:8]}")
    bearer = f"Authorization: Bearer {AccessToken.for_user(customer)}".encode()
    lines = bearer, b"Content-Type: application/json", b"Content-Length: 2"
    ask = post(f"/api/v1/sales/{item.sale.slug}/items/thing/purchase-tokens/".encode(), *lines) + b"{}"
    slug = item.sale.slug.encode()
    eventually(lambda: slug in answer(live_url, get(b"/api/v1/sales/"))[1], within=3)
    assert answer(live_url, ask)[0] == 201

    with ExitStack() as stuck, transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE inventory_sale, orders_order IN ACCESS EXCLUSIVE MODE")
        waiting = [stuck.enter_context(connected(live_url)) for _ in range(settings.WEB_THREADS * 2)]
        for client in waiting:
            client.sendall(get(b"/api/v1/orders/", bearer))
        time.sleep(0.2)  # the catalog is too old by now
        stuck.enter_context(connected(live_url)).sendall(ask)
        time.sleep(0.3)  # its reader waits as well
        assert answer(live_url, ask)[0] == 201
        assert select.select(waiting, [], [], 0)[0] == []


@pytest.mark.parametrize(("target", "status"), [(b"/api/v1/auth/token/", b"401"), (b"/api/v1/orders/", b"400")])
def test_a_client_that_sends_its_body_slowly_has_not_waited_for_us(live_url, customer, target, status):
    body = b'{"username":"nobody","password":"wrong"}'
    head = [
        b"POST " + target + b" HTTP/1.1",
        f"Authorization: Bearer {AccessToken.for_user(customer)}".encode(),
        b"Host: localhost",
        b"Connection: close",
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(body),
        b"X-Request-Start: t=%.3f" % (time.time() - settings.REQUEST_WAIT_S + 2),
    ]
    with connected(live_url) as client:
        client.sendall(b"\r\n".join([*head, b"", b""]))
        time.sleep(2.1)  # a part of the wait that is the client's own
        client.sendall(body)
        assert client.recv(12) == b"HTTP/1.1 " + status
