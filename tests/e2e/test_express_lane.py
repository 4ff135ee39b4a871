"""The express lane answers as Django does, byte for byte, and leaves to Django what it does not know."""

import asyncio
import io
import itertools
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from uuid import uuid4

import pytest
from a2wsgi.wsgi import build_environ
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.core.wsgi import get_wsgi_application
from django.db import connections
from django.middleware.csrf import _get_new_csrf_string
from rest_framework_simplejwt.tokens import AccessToken

from flashsale.accounts import sessions
from flashsale.accounts.denials import denials
from flashsale.core import messages
from flashsale.core.clock import now, to_us
from flashsale.core.redis_client import gate_client
from flashsale.ratelimit.in_process import limits_client, ruleset
from flashsale.ratelimit.rules import services as limits
from flashsale.ratelimit.rules.models import LimitRule
from flashsale.web.express import ExpressLane, reply
from flashsale.web.express.request import common
from flashsale.web.problem import server_error
from inventory import catalog
from inventory.admission import gate, keys, waiting_room
from tests.conftest import eventually

pytestmark = pytest.mark.django_db(transaction=True)

_CHANGES = (  # what differs from request to request
    (rb'"token":"[^"]+"', b'"token":"T"'),
    (rb'"ticket":"[^"]+"', b'"ticket":"T"'),
    (rb"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", b"ID"),
    (rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", b"TIME"),
    (rb'"seq":"[^"]+"', b'"seq":"S"'),
    (rb'"(retry_after|estimated_wait)":\d+', b'"\\1":0'),
)
_seqs = itertools.count()


class Sent:
    """One request to an ASGI application."""

    def __init__(self, application, method, path, body=b"", *, run=True, **headers):
        self.head = {}
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._unread = [{"type": "http.request", "body": raw, "more_body": False}]
        query = headers.pop("QUERY_STRING", "")
        named = {"host": "localhost", "content-type": "application/json", "content-length": str(len(raw))} | headers
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": path,
            "root_path": "",
            "query_string": query.encode(),
            "scheme": "http",
            "client": ("127.0.0.1", 9),
            "server": ("localhost", 80),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in named.items()],
        }
        self.body = b""
        self.done = application(scope, self._receive, self._send)
        if run:
            asyncio.run(self.done)

    async def _receive(self):
        return self._unread.pop() if self._unread else {"type": "http.disconnect"}

    async def _send(self, message):
        if message["type"] == "http.response.start":
            self.status = message["status"]
            head = {name.decode().lower(): value.decode("latin-1") for name, value in message["headers"]}
            self.head = {
                name: value
                for name, value in head.items()
                if name not in ("ratelimit", "date", "retry-after", "content-length")
            }
        self.body += message.get("body", b"")

    @property
    def masked(self):
        body, location = self.body, self.head.get("location", "").encode()
        for pattern, stands in _CHANGES:
            body, location = re.sub(pattern, stands, body), re.sub(pattern, stands, location)
        return self.status, body, dict(sorted({**self.head, "location": location.decode()}.items()))


class Watched:
    """Django, in a thread: whether it was asked."""

    def __init__(self):
        self.django = get_wsgi_application()
        self.thread = ThreadPoolExecutor(1)
        self.asked = 0

    async def __call__(self, scope, receive, send):
        self.asked += 1
        body = b"".join([(await receive())["body"]]) if dict(scope["headers"]).get(b"content-length", b"0") != b"0" else b""
        line, headers, answer = await asyncio.get_running_loop().run_in_executor(self.thread, self._answer, scope, body)
        named = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        await send({"type": "http.response.start", "status": int(line.split()[0]), "headers": named})
        await send({"type": "http.response.body", "body": answer})

    def _answer(self, scope, body):
        started = []
        response = self.django(build_environ(scope, io.BytesIO(body)), lambda *head: started.append(head))
        try:
            return *started[0][:2], b"".join(response)
        finally:
            response.close()


@pytest.fixture
def django():
    watched = Watched()
    yield watched
    watched.thread.submit(connections.close_all).result()


@pytest.fixture
def both(django):
    """``both(make_request)``: what Django and the lane answer to two equal requests, each made anew."""
    lane = ExpressLane(django)

    def ask(make, *, by_lane=True):
        expected = _send(django, make)
        django.asked = 0
        found = _send(lane, make)
        assert django.asked == (0 if by_lane else 1)
        assert found.masked == expected.masked
        return found

    yield ask
    lane.threads.submit(connections.close_all).result()


def _send(application, make):
    arguments, headers = make()
    return Sent(application, *arguments, **headers)


@pytest.fixture
def sale(make_item):
    item = make_item(units=50, per_customer=50, slug=f"lane-{uuid4().hex[:8]}")
    _read_catalog()
    ruleset().refresh()
    return item


def _read_catalog():
    catalog.forget()
    catalog.sales()


@pytest.fixture
def bearer(customer):
    return {"authorization": f"Bearer {AccessToken.for_user(customer)}"}


def _tokens(item):
    return f"/api/v1/sales/{item.sale.slug}/items/thing/purchase-tokens/"


def _order_of(item, customer, **changes):
    body = {"sku": "thing", "quantity": 1, "source": "lane", "seq": f"s{next(_seqs)}", "payment_method": "pm_ok"}
    return {"token": gate.issue_token(item.pk, customer.pk).token} | body | changes


def test_a_purchase_token(both, sale, bearer):
    assert both(lambda: (("POST", _tokens(sale), b"{}"), bearer)).status == 201
    assert both(lambda: (("POST", _tokens(sale)), bearer)).status == 201


def test_an_accepted_order_and_its_repetition(both, django, sale, bearer, customer):
    first = both(lambda: (("POST", "/api/v1/orders/", _order_of(sale, customer)), bearer))
    assert first.status == 202
    body = _order_of(sale, customer)
    _send(django, lambda: (("POST", "/api/v1/orders/", body), bearer))
    again = both(lambda: (("POST", "/api/v1/orders/", body), bearer))
    assert again.head["idempotency-replayed"] == "true"


def test_an_order_is_shown(both, sale, bearer, customer, order):
    placed = order(sale, customer)
    assert both(lambda: (("GET", f"/api/v1/orders/{placed.order_id}/"), bearer)).status == 200
    assert both(lambda: (("GET", f"/api/v1/orders/{uuid4()}/"), bearer)).status == 404


def test_a_place_in_line(both, make_item, bearer, customers):
    item = make_item(units=5, slug=f"room-{uuid4().hex[:8]}", room=1)
    _read_catalog()
    for other in customers(2, "in-line"):
        waiting_room.join(item.pk, other.pk)

    place = both(lambda: (("POST", _tokens(item), b"{}"), bearer))
    assert place.status == 202
    ticket = json.loads(place.body)["ticket"]
    assert both(lambda: (("GET", f"/api/v1/waiting-room/{ticket}/"), bearer)).status == 200
    assert both(lambda: (("GET", f"/api/v1/waiting-room/{item.pk}.{'a' * 32}/"), bearer)).status == 404


@pytest.mark.parametrize("state", ["sold_out", "paused", "ended", "gone"])
def test_refusals(both, sale, bearer, state):
    if state == "sold_out":
        gate_client().set(keys.stock(sale.pk), 0)
    elif state == "gone":
        gate_client().delete(keys.meta(sale.pk))
    else:
        gate_client().hset(keys.meta(sale.pk), "state", state)

    answer = both(lambda: (("POST", _tokens(sale), b"{}"), bearer))
    assert answer.status == 409
    assert json.loads(answer.body)["code"] == ("paused" if state == "gone" else state)


def test_an_order_that_is_refused(both, sale, bearer, customer):
    wrong = f"{sale.pk}.{'x' * 32}"
    assert both(lambda: (("POST", "/api/v1/orders/", _order_of(sale, customer, token=wrong)), bearer)).status == 403
    too_many = both(lambda: (("POST", "/api/v1/orders/", _order_of(sale, customer, quantity=51)), bearer))
    assert json.loads(too_many.body)["errors"] == {"quantity": ["Exceeds the limit per customer."]}
    changed = both(lambda: (("POST", "/api/v1/orders/", _order_of(sale, customer, unit_price="9.99")), bearer))
    assert json.loads(changed.body)["code"] == "price_changed"


def test_a_request_over_its_limit(both, django, sale, bearer):
    rule = LimitRule(name="one", applies_to="api:purchase-tokens", key="all", algorithm="token_bucket", rate=1, burst=1)
    rule.window_ms = 3_600_000
    limits.save_rule(rule, actor="test")
    ruleset().forget()
    _send(django, lambda: (("POST", _tokens(sale), b"{}"), bearer))

    answer = both(lambda: (("POST", _tokens(sale), b"{}"), bearer))
    assert answer.status == 429
    assert json.loads(answer.body)["code"] == "rate_limited"


@pytest.mark.parametrize(
    ("body", "environ"),
    [
        (b"{", {}),
        (b'{"a":1}', {}),
        (b"[]", {}),
        (b"{}", {"QUERY_STRING": "a=1"}),
        (b"{}", {"content-type": "text/plain"}),
        (b"{}", {"accept": "text/html"}),
        (b"{}", {"host": "evil.example"}),
        (b"{}", {"authorization": "Bearer x.y.z"}),
        (b"{}", {"authorization": "Basic eDp5"}),
        (b"{}", {"origin": "https://other.example"}),
        (b"{}" + b" " * 20_000, {}),
    ],
)
def test_what_is_unusual_is_answered_by_django(both, sale, bearer, body, environ):
    both(lambda: (("POST", _tokens(sale), body), bearer | environ), by_lane=False)


@pytest.mark.parametrize("address", ["/api/v1/sales//items/x/purchase-tokens/", "/api/v1/sales/x/items//purchase-tokens/"])
def test_an_address_without_a_name_is_answered_by_django(both, sale, bearer, address):
    assert both(lambda: (("POST", address, b"{}"), bearer), by_lane=False).status == 404


@pytest.mark.parametrize("slug", ["\x00", "a\x00b", "\xff", "\xc3\xa9", "a" * 5_000, "%00", " "])
def test_a_slug_that_no_sale_can_have(both, sale, bearer, slug):
    address = f"/api/v1/sales/{slug}/items/x/purchase-tokens/"

    assert both(lambda: (("POST", address, b"{}"), bearer), by_lane=False).status == 404


@pytest.mark.parametrize(
    "changes",
    [{"seq": ""}, {"seq": None}, {"quantity": "1"}, {"quantity": 0}, {"more": 1}, {"source": "A"}, {"payment_method": "pm_?"}],
)
def test_a_body_that_is_not_valid_is_answered_by_django(both, sale, bearer, customer, changes):
    answer = both(lambda: (("POST", "/api/v1/orders/", _order_of(sale, customer, **changes)), bearer), by_lane=False)
    assert answer.status == 400


@pytest.fixture
def browser(customer):
    """What a browser sends whose user has signed in."""
    session, secret = sessions.SessionStore(), _get_new_csrf_string()
    session[SESSION_KEY] = str(customer.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = customer.get_session_auth_hash()
    sessions.start(session, customer)
    session.save()
    cookies = f"{settings.SESSION_COOKIE_NAME}={session.session_key}; {settings.CSRF_COOKIE_NAME}={secret}"
    return {"cookie": cookies, "x-csrftoken": secret, "origin": "http://localhost"}


def test_a_browsers_session(both, sale, browser, customer):
    assert both(lambda: (("POST", _tokens(sale), b"{}"), browser)).status == 201
    assert both(lambda: (("POST", "/api/v1/orders/", _order_of(sale, customer)), browser)).status == 202


@pytest.mark.parametrize("changes", [{"x-csrftoken": ""}, {"x-csrftoken": "x" * 32}, {"origin": "http://evil"}])
def test_a_session_without_its_csrf_token_is_refused_by_django(both, sale, browser, changes):
    assert both(lambda: (("POST", _tokens(sale), b"{}"), browser | changes), by_lane=False).status == 403


@pytest.mark.parametrize("credentials", ["bearer", "browser"])
def test_a_revoked_credential_is_refused_although_it_is_remembered(both, sale, customer, request, credentials):
    known = request.getfixturevalue(credentials)
    both(lambda: (("POST", _tokens(sale), b"{}"), known))

    denials().deny(customer.pk, to_us(now()) + 1)

    assert both(lambda: (("POST", _tokens(sale), b"{}"), known), by_lane=False).status == 401


def test_a_fault_of_ours_is_told_as_django_tells_it(rf):
    found = reply.failure(ValueError("planted"), reply.Common("GET, HEAD, OPTIONS", "origin"), {})

    expected = server_error(rf.get("/api/v1/orders/"))
    assert (found.status, json.loads(found.body)) == (500, json.loads(expected.content))


@pytest.mark.parametrize("length", ["\xb2", "9" * 6_000, "-1", "x"])
def test_a_length_that_is_none_is_left_to_django(bearer, length):
    scope = {
        "method": "POST",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-length", length.encode("latin-1"))],
    }
    scope["headers"].append((b"content-type", b"application/json"))

    assert common(scope) is None
    assert common(scope | {"headers": [*scope["headers"][::2], (b"content-length", b"2")]}) is not None


def test_a_catalog_that_grows_old_while_the_body_comes_is_not_read_in_the_loop(django, sale, bearer, settings, monkeypatch):
    receive = Sent._receive

    async def late(sent):
        settings.CATALOG_TTL_S = 0
        return await receive(sent)

    monkeypatch.setattr(Sent, "_receive", late)
    lane = ExpressLane(django)

    answer = Sent(lane, "POST", _tokens(sale), b"{}", **bearer)

    lane.threads.submit(connections.close_all).result()
    assert (answer.status, django.asked) == (201, 0)


def _together(lane, requests):
    """The answers to requests of one moment."""
    sent = [Sent(lane, *arguments, run=False, **headers) for arguments, headers in requests]

    async def ask():
        await asyncio.gather(*(each.done for each in sent))

    asyncio.run(ask())
    return sent


def _scripts(client):
    commands = client.info("commandstats")
    return sum(commands.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("evalsha", "eval"))


def _spent(work):
    """What it gives, and the scripts that it costs at the limits and at the gate."""
    before = _scripts(limits_client()), _scripts(gate_client())
    found = work()
    return found, (_scripts(limits_client()) - before[0], _scripts(gate_client()) - before[1])


def test_a_token_and_an_order_take_a_script_for_the_limits_and_one_at_the_gate(
    django, no_workers, shipped_rules, sale, bearer, customer
):
    lane, bodies = ExpressLane(django), [_order_of(sale, customer) for _ in range(2)]
    ruleset().refresh()
    Sent(lane, "POST", _tokens(sale), b"{}", **bearer)
    Sent(lane, "POST", "/api/v1/orders/", bodies[0], **bearer)

    token, for_token = _spent(lambda: Sent(lane, "POST", _tokens(sale), b"{}", **bearer))
    order, for_order = _spent(lambda: Sent(lane, "POST", "/api/v1/orders/", bodies[1], **bearer))

    assert (token.status, order.status, django.asked) == (201, 202, 0)
    assert (for_token, for_order) == ((1, 1), (1, 1))


def test_a_hundred_requests_of_one_moment_share_their_trips(django, sale, customers):
    lane = ExpressLane(django)
    buyers = [{"authorization": f"Bearer {AccessToken.for_user(each)}"} for each in customers(100, "crowd")]
    Sent(lane, "POST", _tokens(sale), b"{}", **buyers[0])

    reads = int(gate_client().info("stats")["total_reads_processed"])
    found, spent = _spent(lambda: _together(lane, [(("POST", _tokens(sale), b"{}"), each) for each in buyers]))
    reads = int(gate_client().info("stats")["total_reads_processed"]) - reads

    assert {each.status for each in found} == {201}
    assert len({each.body for each in found}) == 100
    assert spent == (0, 100)  # there are no rules here
    assert reads < 30  # of one trip of 50 KB, in pieces; the others are for connecting and for counting


def test_a_caller_who_goes_gives_the_seat_of_a_queue_rule_back(django, sale, bearer):
    rule = LimitRule(name="turns", applies_to="api:purchase-tokens", key="all", algorithm="leaky_bucket", rate=2, burst=0)
    rule.on_limit, rule.max_wait_ms = "queue", 2_000
    limits.save_rule(rule, actor="test")
    ruleset().forget()
    ruleset().refresh()
    lane = ExpressLane(django)
    Sent(lane, "POST", _tokens(sale), b"{}", **bearer)

    async def go():
        gone = [asyncio.ensure_future(Sent(lane, "POST", _tokens(sale), run=False, **bearer).done) for _ in range(2)]
        await asyncio.wait(gone, timeout=0.2)
        for each in gone:
            assert not each.done()
            each.cancel()
        await asyncio.wait(gone)

    asyncio.run(go())

    assert Sent(lane, "POST", _tokens(sale), b"{}", **bearer).status == 201


def test_a_browser_behind_a_proxy_that_speaks_https(both, sale, browser, settings):
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    secure = browser | {"x-forwarded-proto": "https", "origin": "https://localhost"}
    ask = lambda headers: lambda: (("POST", _tokens(sale), b"{}"), headers)  # noqa: E731
    no_origin = {name: value for name, value in secure.items() if name != "origin"}

    assert both(ask(secure)).status == 201
    assert both(ask(no_origin | {"referer": "https://localhost/"})).status == 201
    assert both(ask(no_origin), by_lane=False).status == 403
    assert both(ask(no_origin | {"referer": "https://evil.example/"}), by_lane=False).status == 403
    assert both(ask(secure | {"origin": "http://localhost"}), by_lane=False).status == 403


def test_a_wake_up_waits_for_nobody_who_waits_for_postgresql(django, no_workers, sale, bearer, customer):
    lane, goes_on = ExpressLane(django), threading.Event()
    waiting = [lane.threads.submit(goes_on.wait, 10) for _ in range(100)]
    try:
        assert Sent(lane, "POST", "/api/v1/orders/", _order_of(sale, customer), **bearer).status == 202
        eventually(lambda: messages.waiting_in("dispatch") == 1, within=3)
    finally:
        goes_on.set()
        wait(waiting)


def test_without_credentials_django_answers(both, sale):
    assert both(lambda: (("POST", _tokens(sale), b"{}"), {}), by_lane=False).status == 401


def test_a_request_that_waited_too_long_is_refused_before_django(both, sale, bearer):
    waited = {"x-request-start": f"t={now().timestamp() - 10:.3f}"}
    assert both(lambda: (("POST", _tokens(sale), b"{}"), bearer | waited)).status == 503
