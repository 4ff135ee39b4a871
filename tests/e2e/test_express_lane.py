"""The express lane answers as Django does, byte for byte, and leaves to Django what it does not know."""

import io
import itertools
import json
import re
from uuid import uuid4

import pytest
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.core.wsgi import get_wsgi_application
from django.middleware.csrf import _get_new_csrf_string
from rest_framework_simplejwt.tokens import AccessToken

from flashsale.accounts import sessions
from flashsale.accounts.denials import denials
from flashsale.core.clock import now, to_us
from flashsale.core.redis_client import gate_client
from flashsale.edge import catalog
from flashsale.edge.error_handler import server_error
from flashsale.limits import services as limits
from flashsale.limits.models import LimitRule
from flashsale.ratelimit.in_process import ruleset
from flashsale.web.express import ExpressLane, reply
from inventory.admission import gate, keys, waiting_room

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
    """One request to a WSGI application."""

    def __init__(self, application, method, path, body=b"", **environ):
        self.head = {}
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        values = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(raw)),
            "wsgi.input": io.BytesIO(raw),
            "wsgi.errors": io.StringIO(),
            "wsgi.url_scheme": "http",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "HTTP_HOST": "localhost",
            "REMOTE_ADDR": "127.0.0.1",
        }
        response = application({**values, **environ}, self._start)
        self.body = b"".join(response)
        getattr(response, "close", lambda: None)()

    def _start(self, line, headers, *_):
        self.line = line
        self.head = {name: value for name, value in headers if name not in ("RateLimit", "Date", "Retry-After")}

    @property
    def masked(self):
        body, location = self.body, self.head.get("Location", "").encode()
        for pattern, stands in _CHANGES:
            body, location = re.sub(pattern, stands, body), re.sub(pattern, stands, location)
        return self.line.partition(" ")[0], body, dict(sorted({**self.head, "Location": location.decode()}.items()))


class Watched:
    """Django behind the lane: whether it was asked."""

    def __init__(self):
        self.django = get_wsgi_application()
        self.asked = 0

    def __call__(self, environ, start_response):
        self.asked += 1
        return self.django(environ, start_response)


@pytest.fixture
def both():
    """``both(make_request)``: what Django and the lane answer to two equal requests, each made anew."""
    django = Watched()
    lane = ExpressLane(django)

    def ask(make, *, by_lane=True):
        django.asked = 0
        expected = _send(django.django, make)
        found = _send(lane, make)
        assert django.asked == (0 if by_lane else 1)
        assert found.masked == expected.masked
        return found

    return ask


def _send(application, make):
    arguments, environ = make()
    return Sent(application, *arguments, **environ)


@pytest.fixture
def sale(make_item):
    catalog.forget()
    return make_item(units=50, per_customer=50, slug=f"lane-{uuid4().hex[:8]}")


@pytest.fixture
def bearer(customer):
    return {"HTTP_AUTHORIZATION": f"Bearer {AccessToken.for_user(customer)}"}


def _tokens(item):
    return f"/api/v1/sales/{item.sale.slug}/items/thing/purchase-tokens/"


def _order_of(item, customer, **changes):
    body = {"sku": "thing", "quantity": 1, "source": "lane", "seq": f"s{next(_seqs)}", "payment_method": "pm_ok"}
    return {"token": gate.issue_token(item.pk, customer.pk).token} | body | changes


def test_a_purchase_token(both, sale, bearer):
    assert both(lambda: (("POST", _tokens(sale), b"{}"), bearer)).line.startswith("201")
    assert both(lambda: (("POST", _tokens(sale)), bearer)).line.startswith("201")


def test_an_accepted_order_and_its_repetition(both, sale, bearer, customer):
    first = both(lambda: (("POST", "/api/v1/orders/", _order_of(sale, customer)), bearer))
    assert first.line.startswith("202")
    body = _order_of(sale, customer)
    _send(get_wsgi_application(), lambda: (("POST", "/api/v1/orders/", body), bearer))
    again = both(lambda: (("POST", "/api/v1/orders/", body), bearer))
    assert again.head["Idempotency-Replayed"] == "true"


def test_an_order_is_shown(both, sale, bearer, customer, order):
    placed = order(sale, customer)
    assert both(lambda: (("GET", f"/api/v1/orders/{placed.order_id}/"), bearer)).line.startswith("200")
    assert both(lambda: (("GET", f"/api/v1/orders/{uuid4()}/"), bearer)).line.startswith("404")


def test_a_place_in_line(both, make_item, bearer, customers):
    item = make_item(units=5, slug=f"room-{uuid4().hex[:8]}", room=1)
    for other in customers(2, "in-line"):
        waiting_room.join(item.pk, other.pk)

    place = both(lambda: (("POST", _tokens(item), b"{}"), bearer))
    assert place.line.startswith("202")
    ticket = json.loads(place.body)["ticket"]
    assert both(lambda: (("GET", f"/api/v1/waiting-room/{ticket}/"), bearer)).line.startswith("200")
    assert both(lambda: (("GET", f"/api/v1/waiting-room/{item.pk}.{'a' * 32}/"), bearer)).line.startswith("404")


@pytest.mark.parametrize("state", ["sold_out", "paused", "ended", "gone"])
def test_refusals(both, sale, bearer, state):
    if state == "sold_out":
        gate_client().set(keys.stock(sale.pk), 0)
    elif state == "gone":
        gate_client().delete(keys.meta(sale.pk))
    else:
        gate_client().hset(keys.meta(sale.pk), "state", state)

    answer = both(lambda: (("POST", _tokens(sale), b"{}"), bearer))
    assert answer.line.startswith("409")
    assert json.loads(answer.body)["code"] == ("paused" if state == "gone" else state)


def test_an_order_that_is_refused(both, sale, bearer, customer):
    wrong = f"{sale.pk}.{'x' * 32}"
    assert both(lambda: (("POST", "/api/v1/orders/", _order_of(sale, customer, token=wrong)), bearer)).line.startswith("403")
    too_many = both(lambda: (("POST", "/api/v1/orders/", _order_of(sale, customer, quantity=51)), bearer))
    assert json.loads(too_many.body)["errors"] == {"quantity": ["Exceeds the limit per customer."]}
    changed = both(lambda: (("POST", "/api/v1/orders/", _order_of(sale, customer, unit_price="9.99")), bearer))
    assert json.loads(changed.body)["code"] == "price_changed"


def test_a_request_over_its_limit(both, sale, bearer):
    rule = LimitRule(name="one", applies_to="api:purchase-tokens", key="all", algorithm="token_bucket", rate=1, burst=1)
    rule.window_ms = 3_600_000
    limits.save_rule(rule, actor="test")
    ruleset().forget()
    _send(get_wsgi_application(), lambda: (("POST", _tokens(sale), b"{}"), bearer))

    answer = both(lambda: (("POST", _tokens(sale), b"{}"), bearer))
    assert answer.line.startswith("429")
    assert json.loads(answer.body)["code"] == "rate_limited"


@pytest.mark.parametrize(
    ("body", "environ"),
    [
        (b"{", {}),
        (b'{"a":1}', {}),
        (b"[]", {}),
        (b"{}", {"QUERY_STRING": "a=1"}),
        (b"{}", {"CONTENT_TYPE": "text/plain"}),
        (b"{}", {"HTTP_ACCEPT": "text/html"}),
        (b"{}", {"HTTP_HOST": "evil.example"}),
        (b"{}", {"HTTP_AUTHORIZATION": "Bearer x.y.z"}),
        (b"{}", {"HTTP_AUTHORIZATION": "Basic eDp5"}),
        (b"{}", {"HTTP_ORIGIN": "https://other.example"}),
        (b"{}" + b" " * 20_000, {}),
    ],
)
def test_what_is_unusual_is_answered_by_django(both, sale, bearer, body, environ):
    both(lambda: (("POST", _tokens(sale), body), bearer | environ), by_lane=False)


@pytest.mark.parametrize("address", ["/api/v1/sales//items/x/purchase-tokens/", "/api/v1/sales/x/items//purchase-tokens/"])
def test_an_address_without_a_name_is_answered_by_django(both, sale, bearer, address):
    assert both(lambda: (("POST", address, b"{}"), bearer), by_lane=False).line.startswith("404")


@pytest.mark.parametrize("slug", ["\x00", "a\x00b", "\xff", "\xc3\xa9", "a" * 5_000, "%00", " "])
def test_a_slug_that_no_sale_can_have(both, sale, bearer, slug):
    catalog.forget()

    assert both(lambda: (("POST", f"/api/v1/sales/{slug}/items/x/purchase-tokens/", b"{}"), bearer)).line.startswith("404")


@pytest.mark.parametrize(
    "changes",
    [{"seq": ""}, {"seq": None}, {"quantity": "1"}, {"quantity": 0}, {"more": 1}, {"source": "A"}, {"payment_method": "pm_?"}],
)
def test_a_body_that_is_not_valid_is_answered_by_django(both, sale, bearer, customer, changes):
    answer = both(lambda: (("POST", "/api/v1/orders/", _order_of(sale, customer, **changes)), bearer), by_lane=False)
    assert answer.line.startswith("400")


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
    return {"HTTP_COOKIE": cookies, "HTTP_X_CSRFTOKEN": secret, "HTTP_ORIGIN": "http://localhost"}


def test_a_browsers_session(both, sale, browser, customer):
    assert both(lambda: (("POST", _tokens(sale), b"{}"), browser)).line.startswith("201")
    assert both(lambda: (("POST", "/api/v1/orders/", _order_of(sale, customer)), browser)).line.startswith("202")


@pytest.mark.parametrize("changes", [{"HTTP_X_CSRFTOKEN": ""}, {"HTTP_X_CSRFTOKEN": "x" * 32}, {"HTTP_ORIGIN": "http://evil"}])
def test_a_session_without_its_csrf_token_is_refused_by_django(both, sale, browser, changes):
    assert both(lambda: (("POST", _tokens(sale), b"{}"), browser | changes), by_lane=False).line.startswith("403")


@pytest.mark.parametrize("credentials", ["bearer", "browser"])
def test_a_revoked_credential_is_refused_although_it_is_remembered(both, sale, customer, request, credentials):
    known = request.getfixturevalue(credentials)
    both(lambda: (("POST", _tokens(sale), b"{}"), known))

    denials().deny(customer.pk, to_us(now()) + 1)

    assert both(lambda: (("POST", _tokens(sale), b"{}"), known), by_lane=False).line.startswith("401")


def test_a_fault_of_ours_is_told_as_django_tells_it(rf):
    found = reply.failure(ValueError("planted"), reply.Common("GET, HEAD, OPTIONS", "origin"), {})

    expected = server_error(rf.get("/api/v1/orders/"))
    assert (found.line, json.loads(found.body)) == ("500 Internal Server Error", json.loads(expected.content))


@pytest.mark.parametrize("length", ["\u00b2", "9" * 6_000, "-1", "x"])
def test_a_length_that_is_none_is_left_to_django(length):
    taken = []

    def django(environ, start_response):
        taken.append(environ)
        return []

    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/api/v1/orders/", "HTTP_HOST": "localhost", "CONTENT_LENGTH": length}

    ExpressLane(django)(environ | {"CONTENT_TYPE": "application/json"}, None)

    assert len(taken) == 1


def test_without_credentials_django_answers(both, sale):
    assert both(lambda: (("POST", _tokens(sale), b"{}"), {}), by_lane=False).line.startswith("401")
