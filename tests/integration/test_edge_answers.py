"""What is the same for everybody is answered by the gateway itself, in the API's bytes, and only while it is true."""

import functools
import itertools
import json
import re
import signal
import time

import pytest
from rest_framework_simplejwt.tokens import AccessToken

from flashsale.core.redis_client import gate_client
from flashsale.gateway import bootstrap, envoy_admin
from flashsale.gateway.publisher import Publisher
from flashsale.ratelimit.rules import services as limits
from flashsale.ratelimit.rules.models import LimitRule
from flashsale.stack.servers import free_port
from flashsale.web.middleware.answer_headers import OF_API
from inventory import catalog, services
from inventory.admission import keys, waiting_room
from inventory.models import Sale
from tasks.repair import gate_sync
from tests.conftest import Process, eventually, running
from tests.integration.test_gateway import Gateway

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
_numbers = itertools.count()
_TIME = re.compile(rb'"server_time":"[0-9T:.-]+Z"')
_STALE_S = 2.0  # after this no answer of a publisher that is gone may be given


class Edge(Gateway):
    """A gateway with a publisher beside it."""

    def __init__(self, folder):
        super().__init__(folder)
        self.variables |= {
            "GATEWAY_EDGE": f"127.0.0.1:{free_port()}",
            "GATEWAY_ADDRESS_RATE": "100000",
            "GATEWAY_ADDRESS_BURST": "100000",
        }

    def start_publisher(self):
        return Process("publisher", "python", "manage.py", "publish_edge", **self.variables)

    def ask(self, method, path, user=None, *, port=None, headers=()):
        sent = dict(headers) | ({"Authorization": f"Bearer {AccessToken.for_user(user)}"} if user else {})
        content = None
        if method == "POST":
            sent |= {"Content-Type": "application/json", "Content-Length": "2"}
            content = b"{}"
        return self.send_whole(method, path, sent, content, port or self.port)

    def send_whole(self, method, path, headers, content, port):
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()


def by_edge(answer):
    """Whether the gateway knew it: a web process says its fleet, and a gateway that reaches none says 503."""
    return "x-fleet" not in answer[1] and answer[0] != 503


@pytest.fixture(scope="module")
def _edge(django_db_setup, django_db_blocker, tmp_path_factory):
    edge = Edge(tmp_path_factory.mktemp("edge"))
    with django_db_blocker.unblock():
        web, service = edge.start_web(), edge.start_service()
        envoy = edge.start_envoy()
    with running(web), running(service), running(envoy):
        eventually(edge.is_ready, within=30, what=f"{envoy.log} {web.log}")
        yield edge


@pytest.fixture(scope="module")
def kept_publishers(_edge, django_db_blocker):
    """The publisher that tests share, as a list of one; a test that ends it leaves the list empty."""
    publishers = []
    yield publishers
    for process in publishers:
        process.stop()


@pytest.fixture
def publisher(clean_redis, _edge, kept_publishers):
    if not kept_publishers:
        # What the publisher of the test before has said is over.
        eventually(lambda: not by_edge(_edge.ask("GET", "/api/v1/sales/")), within=10)
        kept_publishers.append(_edge.start_publisher())
    return kept_publishers[0]


@pytest.fixture
def edge(_edge, publisher):
    """The gateway once it says that there is no sale: what was published for the test before is over."""
    eventually(
        lambda: by_edge(answer := _edge.ask("GET", "/api/v1/sales/")) and b"edge-" not in answer[2],
        within=30,
        what=publisher.log,
    )
    return _edge


@pytest.fixture
def make_sale(make_item):
    return functools.partial(make_item, slug=f"edge-{next(_numbers)}")


def tokens(item):
    return f"/api/v1/sales/{item.sale.slug}/items/thing/purchase-tokens/"


def set_stock(item, units):
    gate_client().set(keys.stock(item.pk), units)


def refused_at_the_edge(edge, item, user, code):
    def look():
        answer = edge.ask("POST", tokens(item), user)
        return by_edge(answer) and json.loads(answer[2])["code"] == code and answer

    return eventually(look, within=5, what=code)


@pytest.mark.parametrize("code", ["sold_out", "paused", "ended", "not_open"])
def test_a_refusal_for_everybody_has_the_apis_bytes(edge, make_sale, customer, code):
    item = make_sale(units=1, opens_in_s=600 if code == "not_open" else -60)
    if code == "sold_out":
        set_stock(item, 0)
    if code in ("paused", "ended"):
        gate_sync.set_state(item.sale.slug, Sale.State(code))

    status, headers, content = refused_at_the_edge(edge, item, customer, code)

    expected = edge.ask("POST", tokens(item), customer, port=edge.web_port)
    assert (status, content) == (expected[0], expected[2])
    for name in ("content-type", "cache-control", "vary", *(name for name, _ in OF_API)):
        assert headers[name] == expected[1][name]


def test_a_sales_page_has_the_apis_bytes_but_for_the_time(edge, make_sale):
    item = make_sale(units=7)
    path = f"/api/v1/sales/{item.sale.slug}/"
    # The process behind may know its list from before the sale.
    eventually(lambda: item.sale.slug.encode() in edge.ask("GET", "/api/v1/sales/", port=edge.web_port)[2], within=5)
    found = eventually(lambda: by_edge(answer := edge.ask("GET", path)) and answer, within=5)

    for address, given in ((path, found), ("/api/v1/sales/", edge.ask("GET", "/api/v1/sales/"))):
        expected = edge.ask("GET", address, port=edge.web_port)
        assert _TIME.sub(b"", given[2]) == _TIME.sub(b"", expected[2])
        assert _TIME.search(given[2])
        assert given[1]["content-type"] == expected[1]["content-type"]
        assert given[1]["cache-control"] == expected[1]["cache-control"] == "public, max-age=1"


def line(item):
    return f"/api/v1/sales/{item.sale.slug}/items/thing/waiting-room/"


def test_the_numbers_of_a_line_have_the_apis_bytes_and_move_without_a_request_to_the_web(edge, make_sale):
    item = make_sale(units=100, room=4)
    for customer in range(1, 8):
        waiting_room.join(item.pk, customer)
    eventually(lambda: by_edge(edge.ask("GET", line(item))), within=5)

    answer = eventually(  # the last one waits: nothing moves any more
        lambda: json.loads((found := edge.ask("GET", line(item)))[2])["now_serving"] == 7 and found, within=10
    )

    assert by_edge(answer)
    expected = edge.ask("GET", line(item), port=edge.web_port)
    assert (answer[0], answer[2]) == (expected[0], expected[2])
    for name in ("content-type", "cache-control", "vary", *(name for name, _ in OF_API)):
        assert answer[1][name] == expected[1][name]


def test_the_end_of_a_line_has_the_apis_bytes(edge, make_sale):
    item = make_sale(units=1, room=1)
    gate_sync.set_state(item.sale.slug, Sale.State.ENDED)

    answer = eventually(lambda: (found := edge.ask("GET", line(item)))[0] == 409 and by_edge(found) and found, within=5)

    expected = edge.ask("GET", line(item), port=edge.web_port)
    assert answer[2] == expected[2]
    for name in ("content-type", "cache-control", "vary"):
        assert answer[1][name] == expected[1][name]


def test_who_waits_for_hours_sends_next_to_no_request_to_the_web(edge, make_sale, customers):
    item = make_sale(units=100, room=1)
    for customer in range(10**6, 10**6 + 300):
        waiting_room.join(item.pk, customer)
    (buyer,) = customers(1)
    status, _, content = edge.ask("POST", tokens(item), buyer)
    number = json.loads(content)["number"]
    assert (status, number) == (202, 301)
    eventually(lambda: by_edge(edge.ask("GET", line(item))), within=5)
    before = reached_web(edge)

    found = [json.loads(edge.ask("GET", line(item))[2]) for _ in range(200)]

    assert reached_web(edge) == before
    assert all(number > numbers["check_in"] for numbers in found)  # so nothing is asked of them


def test_a_sale_that_nobody_looks_at_yet_is_answered_by_the_web_process(edge, make_sale):
    item = make_sale(opens_in_s=7_200, closes_in_s=36_000)

    listed = eventually(
        lambda: by_edge(found := edge.ask("GET", "/api/v1/sales/")) and item.sale.slug.encode() in found[2], within=5
    )
    answer = edge.ask("GET", f"/api/v1/sales/{item.sale.slug}/")

    assert listed
    assert answer[0] == 200
    assert not by_edge(answer)


def test_a_path_with_a_query_or_another_method_goes_to_the_web_process(edge, make_sale, customer):
    item = make_sale(units=1)
    set_stock(item, 0)
    refused_at_the_edge(edge, item, customer, "sold_out")

    for method, path, status in (
        ("GET", f"/api/v1/sales/{item.sale.slug}/?page=1", 200),
        ("OPTIONS", f"/api/v1/sales/{item.sale.slug}/", 200),
        ("GET", tokens(item), 405),
    ):
        answer = edge.ask(method, path, customer)
        assert answer[0] == status
        assert not by_edge(answer)


def reached_web(edge):
    """Requests that the gateway has sent to web processes."""
    stats = envoy_admin.ask(edge.admin, "/stats?filter=cluster.(web|orders).upstream_rq_total")
    return sum(int(line.rpartition(b" ")[2]) for line in stats.splitlines())


@pytest.mark.timed
def test_a_unit_that_comes_back_can_be_had_at_once(edge, make_sale, customer):
    item = make_sale(units=1)
    set_stock(item, 0)
    refused_at_the_edge(edge, item, customer, "sold_out")

    set_stock(item, 1)
    began = time.monotonic()

    eventually(lambda: edge.ask("POST", tokens(item), customer)[0] == 201, within=2)
    assert time.monotonic() - began < 1.0  # 0.2 s on a machine that does nothing else


def test_whoever_brings_no_credentials_is_told_so(edge, make_sale, customer):
    item = make_sale(units=1)
    set_stock(item, 0)
    refused_at_the_edge(edge, item, customer, "sold_out")

    assert edge.ask("POST", tokens(item))[0] == 401


def test_an_order_is_never_answered_by_the_gateway(edge, make_sale, customer):
    item = make_sale(units=1)
    set_stock(item, 0)
    refused_at_the_edge(edge, item, customer, "sold_out")

    answer = edge.ask("POST", "/api/v1/orders/", customer)

    assert answer[0] == 400
    assert not by_edge(answer)


@pytest.mark.parametrize("sign", [signal.SIGSTOP, signal.SIGKILL, signal.SIGTERM])
@pytest.mark.timed
def test_the_answers_of_a_publisher_that_is_gone_or_stopped_end(edge, publisher, kept_publishers, make_sale, customer, sign):
    item = make_sale(units=1)
    set_stock(item, 0)
    refused_at_the_edge(edge, item, customer, "sold_out")

    kept_publishers.clear()
    with running(publisher):
        publisher.popen.send_signal(sign)
        stopped_at = time.monotonic()
        set_stock(item, 1)

        eventually(lambda: edge.ask("POST", tokens(item), customer)[0] == 201, within=10)
        assert time.monotonic() - stopped_at < _STALE_S + 1.0  # and what a crowded machine adds


def test_a_frozen_gate_ends_the_answers(edge, stack, make_sale, customer):
    item = make_sale(units=1)
    path = f"/api/v1/sales/{item.sale.slug}/"
    eventually(lambda: by_edge(edge.ask("GET", path)), within=5)
    gate = stack.servers["REDIS_URL"].process

    gate.send_signal(signal.SIGSTOP)
    try:
        eventually(lambda: not by_edge(edge.ask("GET", path)), within=10)
    finally:
        gate.send_signal(signal.SIGCONT)

    eventually(lambda: by_edge(edge.ask("GET", path)), within=10)


def test_each_gateway_has_a_publisher_and_outlives_the_others(edge, make_sale, customer, tmp_path):
    other = Edge(tmp_path)
    other.web_port = edge.web_port
    other.variables["GATEWAY_WEB"] = edge.variables["GATEWAY_WEB"]
    envoy = other.start_envoy()
    item = make_sale(units=1)
    set_stock(item, 0)
    with running(envoy), running(other.start_publisher()) as others:
        eventually(lambda: other.is_ready() and by_edge(other.ask("GET", "/api/v1/sales/")), within=30, what=envoy.log)
        refused_at_the_edge(edge, item, customer, "sold_out")
        refused_at_the_edge(other, item, customer, "sold_out")

        others.popen.kill()

        eventually(lambda: not by_edge(other.ask("POST", tokens(item), customer)), within=10)
        assert by_edge(edge.ask("POST", tokens(item), customer))


def test_a_publisher_that_cannot_write_vouches_for_nothing_and_goes_on(make_sale, tmp_path):
    make_sale()
    catalog.forget()
    publisher = Publisher(tmp_path / "full")  # no such folder, as on a disk that takes no more files

    publisher.look()

    assert publisher.looked_at == 0.0
    bootstrap.write(tmp_path / "full")
    publisher.look()
    assert publisher.looked_at > 0.0


def test_what_is_set_for_the_canary_stays(edge, make_sale, customer):
    from pathlib import Path

    from flashsale.gateway import canary, routes

    directory = Path(edge.variables["GATEWAY_DIR"])
    routes.set_canary(directory, canary.Setting(20))
    item = make_sale(units=1)
    set_stock(item, 0)

    refused_at_the_edge(edge, item, customer, "sold_out")

    assert routes.current_canary(directory) == canary.Setting(20)
    routes.set_canary(directory, canary.Setting())


def test_new_terms_of_a_sale_reach_the_page(edge, make_sale):
    item = make_sale(units=1)
    path = f"/api/v1/sales/{item.sale.slug}/"
    eventually(lambda: by_edge(edge.ask("GET", path)), within=5)

    services.adjust_stock(item_id=item.pk, units=4, actor="staff", reason="more")
    gate_sync.refresh_gates([item.pk])

    def left():
        answer = edge.ask("GET", path)
        return by_edge(answer) and json.loads(answer[2])["items"][0]["remaining"]

    eventually(lambda: left() == 5, within=5)


def asked(edge):
    """How often the gateway has asked the rate-limit service."""
    stats = envoy_admin.ask(edge.admin, "/stats?filter=cluster.ratelimit.upstream_rq_total")
    return sum(int(line.rpartition(b" ")[2]) for line in stats.splitlines())


def test_the_service_is_asked_only_where_a_rule_needs_it(edge):
    def asks():
        before = asked(edge)
        edge.ask("GET", "/api/v1/orders/")
        return asked(edge) > before

    rule = LimitRule(name="gateway-address", applies_to="gateway", key="address", algorithm="token_bucket")
    rule.rate, rule.burst = 100_000, 100_000
    limits.save_rule(rule, actor="test")
    eventually(lambda: not asks(), within=10)

    rule.rate = 10
    limits.save_rule(rule, actor="test")

    eventually(asks, within=10)
