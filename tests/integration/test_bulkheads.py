"""The processes of the Procfile behind a real gateway: who holds threads of one kind does not hold those of another."""

import http.client
import itertools
import json
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psutil
import pytest
import redis
from honcho.environ import parse_procfile
from rest_framework_simplejwt.tokens import AccessToken

from flashsale.gateway import envoy_admin
from flashsale.stack.servers import free_port
from tests.conftest import BIN, ROOT, Process, eventually, running
from tests.integration.test_gateway import Gateway, another_gateway

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
_LINES = parse_procfile((ROOT / "Procfile").read_text(encoding="utf-8")).processes
_CROWD = 16


class Shop(Gateway):
    """``kinds``: the processes that serve requests, as ``make up`` starts them."""

    def __init__(self, folder):
        super().__init__(folder)
        ports = {"APP_PORT": str(self.web_port), "SIGNIN_PORT": str(free_port()), "STAFF_PORT": str(free_port())}
        self.variables |= ports | {
            "GATEWAY_SIGNIN": f"127.0.0.1:{ports['SIGNIN_PORT']}",
            "GATEWAY_STAFF": f"127.0.0.1:{ports['STAFF_PORT']}",
            "GATEWAY_ADDRESS_RATE": "100000",
            "GATEWAY_ADDRESS_BURST": "100000",
            "READY_SHARED_S": "1.0",
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        }
        self.kinds = {}

    def start(self, kind):
        self.kinds[kind] = Process(f"shop-{kind}", "/bin/sh", "-c", f"exec {_LINES[kind]}", **self.variables)

    def asks(self, path):
        try:
            return self.send("GET", path, address="127.0.0.200")[0]
        except OSError:
            return None

    def operators(self, path, **headers):
        return self.send("GET", path, address="127.0.0.1", port=self.operator_port, headers=headers)


@pytest.fixture(scope="module")
def _shop(django_db_setup, django_db_blocker, tmp_path_factory):
    shop = Shop(tmp_path_factory.mktemp("bulkheads"))
    with django_db_blocker.unblock():
        for kind in ("web", "signin", "staff"):
            shop.start(kind)
        envoy = shop.start_envoy()
    with running(envoy, *shop.kinds.values()):
        for path in ("/health/live", "/login/", "/admin/login/"):
            eventually(lambda at=path: shop.asks(at) == 200, within=40, what=f"{path} {envoy.log}")
        yield shop
        shop.kinds["staff"].stop()


@pytest.fixture
def shop(clean_redis, _shop):
    return _shop


@contextmanager
def frozen_postgresql(stack):
    main = psutil.Process(stack.servers["DATABASE_URL"].process.pid)
    family = [main, *main.children(recursive=True)]
    for one in family:
        one.suspend()
    try:
        yield
    finally:
        for one in reversed(family):
            one.resume()


def bearer(customer):
    return {"Authorization": f"Bearer {AccessToken.for_user(customer)}"}


def purchase_token(shop, credential, slug, after_s=0.0):
    """The status, and after how many seconds."""
    time.sleep(after_s)  # the crowd's pace
    began = time.monotonic()
    path = f"/api/v1/sales/{slug}/items/thing/purchase-tokens/"
    status, _, _ = shop.send("POST", path, address="127.0.0.1", content=b"", headers=credential)
    return status, time.monotonic() - began


_STRANGERS = (
    ("GET", "/admin/", None, {"Cookie": f"sessionid={'z' * 32}"}),
    ("POST", "/admin/login/", b"username=a&password=b", {"Cookie": f"sessionid={'z' * 32}"}),
    ("POST", "/api/v1/auth/token/", b'{"username": "a", "password": "b"}', {"Content-Type": "application/json"}),
    ("POST", "/api/v1/auth/token/refresh/", b'{"refresh": "a"}', {"Content-Type": "application/json"}),
    ("GET", "/login/", None, {"Cookie": f"sessionid={'z' * 32}"}),
    ("GET", "/api/docs/", None, {}),
)


@pytest.mark.timed
def test_strangers_who_wait_for_a_frozen_postgresql_hold_no_thread_of_customers(shop, stack, make_item, customers):
    make_item(units=50, slug="frozen")
    people = [bearer(customer) for customer in customers(17)]
    in_a_row = itertools.count(1)  # until each of the web process's workers knows the sale
    eventually(lambda: purchase_token(shop, people[0], "frozen")[0] == 201 and next(in_a_row) > 6)

    with ThreadPoolExecutor(_CROWD * len(_STRANGERS)) as pool, frozen_postgresql(stack):
        crowd = [
            pool.submit(shop.send, method, path, address=f"127.0.6.{n}", content=content, headers=headers)
            for method, path, content, headers in _STRANGERS
            for n in range(1, _CROWD + 1)
        ]
        answers = [purchase_token(shop, credential, "frozen", after_s=0.1) for credential in people[1:]]

    assert [status for status, _ in answers] == [201] * 16
    assert max(seconds for _, seconds in answers) < 1
    assert all(each.result()[0] in (200, 302, 401, 403, 503) for each in crowd)


def test_a_staff_process_that_is_down_is_noticed_by_no_customer(shop, make_item, customer):
    make_item(units=5, slug="no-staff")
    shop.kinds["staff"].stop()
    try:
        admin = shop.send("GET", "/admin/login/", address="127.0.0.1")
        bought = eventually(lambda: (answer := purchase_token(shop, bearer(customer), "no-staff"))[0] == 201 and answer)
        page = shop.asks("/")
        sign_in = shop.asks("/login/")
    finally:
        shop.start("staff")

    assert (admin[0], json.loads(admin[2])["code"]) == (503, "unavailable")
    assert bought[0] == 201
    assert (page, sign_in) == (200, 200)
    eventually(lambda: shop.asks("/admin/login/") == 200, within=30)


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "/metrics/",
        "/health/ready",
        "/health/ready/",
        "//metrics",
        "/%6detrics",
        "/./health/ready",
        "/health/%72eady",
        "/x/../metrics",
        "/metrics?x=1",
    ],
)
def test_what_operators_ask_is_not_at_the_public_address(shop, path):
    with socket.create_connection(("127.0.0.1", shop.port), timeout=10) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = http.client.HTTPResponse(client)
        answer.begin()

        assert (answer.status, json.loads(answer.read())["code"]) == (404, "not_found")


def test_operators_ask_at_a_port_of_their_own_and_find_nothing_of_the_shop_there(shop, workers):
    eventually(lambda: shop.operators("/health/ready")[0] == 200, within=30, what=lambda: shop.operators("/health/ready"))

    assert b"flashsale_admissions_total" in shop.operators("/metrics")[2]
    assert shop.operators("/health/live")[0] == 200
    assert [shop.operators(path)[0] for path in ("/", "/admin/", "/api/v1/sales/")] == [404] * 3


def test_a_page_that_rebinds_its_name_to_the_operators_address_is_told_nothing(shop):
    assert shop.operators("/metrics", Host="evil.example")[0] == 404
    assert shop.operators("/metrics", Host=f"127.0.0.1:{shop.operator_port}")[0] == 200


def test_many_who_ask_whether_all_is_ready_cost_the_broker_one_connection(shop, stack):
    with redis.Redis.from_url(stack.servers["CELERY_BROKER_URL"].admin_url) as broker:
        shop.operators("/health/ready")
        before = broker.info("stats")["total_connections_received"]
        began = time.monotonic()
        for _ in range(30):
            shop.operators("/health/ready")
        looked = 1 + int(time.monotonic() - began)

        assert broker.info("stats")["total_connections_received"] - before <= 2 * looked + 1


def test_the_description_of_the_api_is_worked_out_once(shop):
    first = shop.send("GET", "/api/schema/?format=json", address="127.0.0.1")
    staff = psutil.Process(shop.kinds["staff"].popen.pid)
    before = _cpu_s(staff)

    again = [shop.send("GET", "/api/schema/?format=json", address="127.0.0.1")[2] for _ in range(60)]

    assert set(again) == {first[2]}
    assert (_cpu_s(staff) - before) / 60 < 0.015
    for kind in _KINDS:
        answer = shop.send("GET", "/api/schema/", address="127.0.0.1", headers={"Accept": kind})
        assert answer[1]["Content-Type"].partition(";")[0] == kind


_KINDS = ("application/vnd.oai.openapi", "application/vnd.oai.openapi+json", "application/yaml", "application/json")


def _cpu_s(process):
    return sum(sum(each.cpu_times()[:2]) for each in [process, *process.children(recursive=True)])


def test_each_kind_of_process_serves_what_is_its_own(shop):
    for path, cluster in (("/admin/login/", "staff"), ("/login/", "signin"), ("/api/v1/sales/", "web"), ("/", "web")):
        port = {"staff": "STAFF_PORT", "signin": "SIGNIN_PORT", "web": "APP_PORT"}[cluster]
        before = shop.answered_by(cluster, int(shop.variables[port]))
        assert shop.asks(path) == 200
        assert shop.answered_by(cluster, int(shop.variables[port])) == before + 1, path


def test_in_a_process_that_serves_all_strangers_leave_threads_to_customers(tmp_path):
    """The process never answers."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    with ThreadPoolExecutor(8) as pool, another_gateway(tmp_path, listener.getsockname()[1]) as one:
        for number in range(8):
            pool.submit(one.send, "GET", "/admin/", address=f"127.0.7.{number + 1}")
        eventually(lambda: one.under_way("staff") == 8)

        # Each of Envoy's threads may have one whatever the bound says.
        assert 2 <= _connections(one, "staff") <= 2 + os.cpu_count() - 1
    listener.close()


def _connections(gateway, cluster):
    found = envoy_admin.ask(gateway.admin, f"/stats?filter=^cluster.{cluster}.upstream_cx_active$")
    return int(found.rpartition(b" ")[2])
