"""A real Envoy in front of a real web process and the real rate-limit service."""

import http.client
import itertools
import json
import select
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from rest_framework_simplejwt.tokens import AccessToken

from flashsale.gateway import envoy_admin
from flashsale.ratelimit.rules import services
from flashsale.ratelimit.rules.models import LimitRule
from flashsale.stack.servers import free_port
from flashsale.web.problem import body
from inventory.admission import gate
from tests.conftest import BIN, Process, eventually, running
from tests.integration.test_ratelimit_service import health

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
BURST = 40
REQUEST_WAIT_S = 2.0
GRANIAN = ("granian", "--interface", "asginl", "--loop", "uvloop", "--host", "127.0.0.1", "--workers", "1", "--no-ws")


class Gateway:
    """Its ports, its processes, and requests from a chosen address."""

    def __init__(self, folder):
        self.port, self.operator_port, self.web_port, self.service_port = (free_port() for _ in range(4))
        self.admin = f"{folder}/admin.sock"
        self.variables = {
            "GATEWAY_DIR": str(folder),
            "GATEWAY_LISTEN": f"127.0.0.1:{self.port}",
            "GATEWAY_OPERATOR_LISTEN": f"127.0.0.1:{self.operator_port}",
            "GATEWAY_WEB": f"127.0.0.1:{self.web_port}",
            "GATEWAY_RATELIMIT": f"127.0.0.1:{self.service_port}",
            "GATEWAY_ADDRESS_RATE": "1",
            "GATEWAY_ADDRESS_BURST": str(BURST),
            "TRUSTED_PROXIES": "127.0.0.1/32",
            "REQUEST_WAIT_S": str(REQUEST_WAIT_S),
        }

    def start_service(self):
        process = Process("gateway-service", "python", "manage.py", "ratelimit_service", "--port", str(self.service_port))
        eventually(lambda: health(f"127.0.0.1:{self.service_port}"), within=30, what=process.log)
        return process

    def start_web(self):
        command = (*GRANIAN, "--port", str(self.web_port), "--log-level", "warning", "flashsale.asgi:application")
        return Process("gateway-web", *command, **self.variables)

    def start_envoy(self):
        written = Process("gateway-config", "python", "manage.py", "gateway_config", **self.variables)
        assert written.popen.wait(30) == 0, written.text()
        configuration = f"{self.variables['GATEWAY_DIR']}/gateway.json"
        return Process("gateway", "python", "-m", "flashsale.stack", "gateway", "--", configuration, self.admin)

    def send(self, method, path, *, address, content=None, headers=(), port=None):
        """Status, headers and body. An iterable content is sent in chunks of unannounced total length."""
        source = (address, 0)
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=10, source_address=source)
        try:
            connection.request(method, path, content, dict(headers), encode_chunked=content is not None)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def hosts(self, cluster):
        """What Envoy knows of each endpoint of a cluster, by port."""
        clusters = envoy_admin.ask_json(self.admin, "/clusters?format=json")["cluster_statuses"]
        found = next(one for one in clusters if one["name"] == cluster)["host_statuses"]
        return {host["address"]["socket_address"]["port_value"]: host for host in found}

    def under_way(self, cluster):
        """Requests that its hosts have been given and not answered, and those that wait for a connection."""
        stats = envoy_admin.ask(self.admin, f"/stats?filter=cluster.{cluster}.upstream_rq_(active|pending_active)")
        return sum(int(line.rpartition(b" ")[2]) for line in stats.splitlines())

    def answered_by(self, cluster, port):
        """How many requests an endpoint has answered, health checks aside."""
        stats = self.hosts(cluster)[port]["stats"]
        return next(int(stat.get("value", 0)) for stat in stats if stat["name"] == "rq_success")

    def is_ready(self):
        try:
            return self.send("GET", "/health/live", address="127.0.0.200")[0] == 200
        except OSError:
            return False


@pytest.fixture(scope="module")
def _gateway(django_db_setup, django_db_blocker, tmp_path_factory):
    gateway = Gateway(tmp_path_factory.mktemp("gateway"))
    with django_db_blocker.unblock():
        web = gateway.start_web()
        gateway.web = web
        gateway.service = gateway.start_service()
        envoy = gateway.start_envoy()
    with running(web), running(envoy):
        eventually(gateway.is_ready, within=30, what=f"{envoy.log} {web.log}")
        yield gateway
    gateway.service.stop()


@pytest.fixture
def gateway(clean_redis, _gateway):
    # Until no process goes by the rules of the test before.
    probes = itertools.count(1)

    def is_unlimited():
        status, headers, _ = _gateway.send("GET", "/api/v1/sales/", address=f"127.0.3.{next(probes)}")
        return status == 200 and "ratelimit-policy" not in headers

    eventually(is_unlimited, within=5)
    return _gateway


@pytest.fixture
def make_rule(gateway):
    def make(name, applies_to, *, burst, **changes):
        fields = {"key": "address", "algorithm": "token_bucket", "burst": burst, "rate": 1, "window_ms": 60_000}
        services.save_rule(LimitRule(**{"name": name, "applies_to": applies_to, **fields, **changes}), actor="test")
        probes = itertools.count(1)

        def is_in_force():
            policy = (
                gateway.send("GET", "/api/v1/sales/", address=f"127.0.1.{next(probes)}")[1].get_all("ratelimit-policy") or []
            )
            return any(f'"{name}"' in part for part in policy)

        eventually(is_in_force, within=5, what=name)

    return make


def problem(answer):
    status, headers, content = answer
    assert headers["content-type"] == "application/problem+json"
    assert json.loads(content)["status"] == status
    return json.loads(content)["code"]


@contextmanager
def stopped(process):
    process.popen.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.popen.send_signal(signal.SIGCONT)


def sale_order(gateway, customer, item, seq, *, address):
    token = gate.issue_token(item.pk, customer.pk).token
    order = {"token": token, "sku": "thing", "quantity": 1, "source": "shop", "seq": seq, "payment_method": "pm_ok"}
    headers = {"Authorization": f"Bearer {AccessToken.for_user(customer)}", "Content-Type": "application/json"}
    return gateway.send("POST", "/api/v1/orders/", address=address, content=json.dumps(order).encode(), headers=headers)


def test_an_address_over_its_local_bucket_is_refused_and_another_is_not(gateway, make_item):
    make_item()

    answers = [gateway.send("GET", "/api/v1/sales/", address="127.0.0.10") for _ in range(BURST + 4)]

    statuses = [status for status, _, _ in answers]
    assert statuses[:BURST] == [200] * BURST
    assert statuses[-1] == 429
    _, headers, content = answers[-1]
    assert json.loads(content) == body(429, "rate_limited", "Too many requests. Try again in a moment.")
    assert headers["content-type"] == "application/problem+json"
    assert headers["retry-after"] == "1"
    assert gateway.send("GET", "/api/v1/sales/", address="127.0.0.11")[0] == 200


def test_the_service_refuses_by_the_rules_of_the_admin_and_its_headers_reach_the_client(gateway, make_rule):
    make_rule("gate", "gateway", burst=2)

    answers = [gateway.send("GET", "/api/v1/sales/", address="127.0.0.20") for _ in range(3)]

    assert [status for status, _, _ in answers] == [200, 200, 429]
    assert problem(answers[2]) == "rate_limited"
    headers = answers[2][1]
    assert (headers["ratelimit"], headers["ratelimit-policy"]) == ('"gate";r=0;t=60', '"gate";q=2;w=120')
    assert headers["retry-after"] == "60"
    assert '"gate";r=1' in answers[0][1]["ratelimit"]


def test_everybody_together_may_have_a_limit_at_the_gateway(gateway, make_rule):
    make_rule("all", "gateway", key="all", burst=30)

    codes = [gateway.send("GET", "/health/live", address=f"127.0.2.{number}")[0] for number in range(1, 32)]

    assert codes[0] == 200
    assert codes[-1] == 429


def test_the_throttle_counts_the_clients_address_and_no_forged_one(gateway, make_rule):
    make_rule("throttle", "api", burst=2)
    forged = [
        {"X-Forwarded-For": "198.51.100.1"},
        {"X-Forwarded-For": "127.0.0.1, 198.51.100.2"},
        {"X_Forwarded_For": "198.51.100.3", "X-Real-IP": "198.51.100.3", "Forwarded": "for=198.51.100.3"},
    ]

    answers = [gateway.send("GET", "/api/v1/sales/", address="127.0.0.1", headers=headers) for headers in forged]

    assert [status for status, _, _ in answers] == [200, 200, 429]
    assert '"throttle";r=0' in answers[2][1]["ratelimit"]
    assert gateway.send("GET", "/api/v1/sales/", address="127.0.0.31")[0] == 200


def test_a_body_of_unannounced_length_is_bounded_and_a_small_one_arrives(gateway, customer):
    customer.set_password("a password")
    customer.save()
    small = json.dumps({"username": customer.username, "password": "a password"}).encode()
    kind = {"Content-Type": "application/json"}

    large = gateway.send("POST", "/api/v1/auth/token/", address="127.0.0.40", content=iter([b" " * 1024] * 17), headers=kind)
    fitting = gateway.send("POST", "/api/v1/auth/token/", address="127.0.0.40", content=iter([small]), headers=kind)

    assert (large[0], problem(large)) == (413, "too_large")
    assert fitting[0] == 200


def test_an_announced_body_over_the_limit_is_refused_before_it_is_sent(gateway):
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as client:
        client.sendall(b"POST /api/v1/orders/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 16385\r\n\r\n")
        assert client.recv(1024).startswith(b"HTTP/1.1 413 ")


def test_a_body_without_end_is_cut_off(gateway):
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as client:
        client.sendall(b"POST /api/v1/orders/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        sent = 0
        client.setblocking(False)
        while not (answered := select.select([client], [], [], 0.01)[0]) and sent < 200:
            client.send(b"400\r\n" + b" " * 1024 + b"\r\n")
            sent += 1
        client.setblocking(True)

        assert answered
        assert client.recv(1024).startswith(b"HTTP/1.1 413 ")
    assert sent < 64


UNREADABLE = {
    "headers over the limit": (b"GET /api/v1/sales/ HTTP/1.1\r\nHost: localhost\r\nX-Long: %s\r\n\r\n" % (b"a" * 20_000), 431),
    "an address over the limit": (b"GET /api/v1/sales/?q=%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % (b"a" * 20_000), 431),
    "no http": (b"hello\r\n\r\n", 400),
    "no host": (b"GET /api/v1/sales/ HTTP/1.1\r\n\r\n", 400),
    "an escaped slash": (b"GET /api/v1/sales/a%2Fb/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 400),
    "two lengths": (b"POST /api/v1/orders/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
    "an upgrade": (b"GET /api/v1/sales/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 403),
}


@pytest.mark.parametrize("sent", UNREADABLE)
def test_what_the_gateway_refuses_by_itself_has_the_apis_shape(gateway, sent):
    request, status = UNREADABLE[sent]
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10, source_address=("127.0.0.42", 0)) as client:
        client.sendall(request)
        answer = http.client.HTTPResponse(client)
        answer.begin()

        assert (answer.status, problem((answer.status, answer.headers, answer.read()))) == (
            status,
            {400: "invalid", 403: "forbidden", 431: "headers_too_large"}[status],
        )


def test_a_client_of_http_1_0_is_served(gateway):
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10, source_address=("127.0.0.43", 0)) as client:
        client.sendall(b"GET /api/v1/sales/ HTTP/1.0\r\nHost: localhost\r\n\r\n")
        answer = http.client.HTTPResponse(client)
        answer.begin()

        assert (answer.status, json.loads(answer.read())) == (200, [])


def test_the_admin_takes_forms_that_the_api_would_not(gateway):
    form = b"a=" + b"x" * 100_000

    status, _, _ = gateway.send("POST", "/admin/login/", address="127.0.0.41", content=form)

    assert status == 403  # no CSRF token: the web process has read it and decided


def test_orders_go_on_while_the_service_hangs_and_after_it_was_killed(gateway, make_item, customers):
    item = make_item(units=5)
    first, second, third = customers(3)

    with stopped(gateway.service):
        hanging = sale_order(gateway, first, item, "hanging", address="127.0.0.50")
    gateway.service.kill()
    try:
        killed = sale_order(gateway, second, item, "killed", address="127.0.0.50")
    finally:
        gateway.service = gateway.start_service()
    back = sale_order(gateway, third, item, "back", address="127.0.0.50")

    assert [hanging[0], killed[0], back[0]] == [202, 202, 202]
    assert gate.stocks([item.pk]) == {item.pk: 2}


def test_a_slow_sender_of_headers_is_cut_off(gateway):
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as client:
        client.sendall(b"GET /api/v1/sales/ HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        began = time.monotonic()
        answer = client.recv(4096)

    assert answer == b"" or answer.startswith(b"HTTP/1.1 408 ")
    assert 4 < time.monotonic() - began < 15


def test_a_web_process_that_is_away_is_a_503_in_the_apis_shape(gateway, tmp_path):
    alone = Gateway(tmp_path)
    envoy = alone.start_envoy()
    with running(envoy):

        def answer():
            try:
                return alone.send("GET", "/api/v1/sales/", address="127.0.0.60")
            except OSError:
                return None

        found = eventually(answer, within=20, what=envoy.log)

    assert (found[0], problem(found)) == (503, "unavailable")
    assert found[1]["retry-after"] == "1"


def test_loss_of_one_of_two_web_processes_fails_nobody(gateway, tmp_path):
    pair = Gateway(tmp_path)
    pair.variables["GATEWAY_WEB"] = f"127.0.0.1:{gateway.web_port},127.0.0.1:{pair.web_port}"
    probe = ("GET", "/api/v1/sales/")
    second = pair.start_web()
    with running(second), running(pair.start_envoy()) as envoy:
        addresses = (f"127.0.4.{number}" for number in itertools.count(1))
        eventually(pair.is_ready, within=30, what=envoy.log)
        for port in (gateway.web_port, pair.web_port):
            eventually(lambda at=port: pair.send(*probe, address=next(addresses)) and pair.answered_by("web", at))

        second.kill()
        eventually(lambda: not _listens(pair.web_port))
        after = [pair.send(*probe, address=f"127.0.5.{number}")[0] for number in range(1, 61)]

    assert after == [200] * 60


@contextmanager
def another_gateway(folder, *webs, **variables):
    """A gateway in front of these ports of the loopback address."""
    other = Gateway(folder)
    other.variables |= variables
    other.variables["GATEWAY_WEB"] = ",".join(f"127.0.0.1:{port}" for port in webs)
    envoy = other.start_envoy()
    with running(envoy):
        eventually(lambda: _listens(other.port), within=20, what=envoy.log)
        yield other


def test_an_order_that_a_web_process_may_have_taken_is_not_sent_to_another(tmp_path):
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    content = b'{"units": 1}'
    with another_gateway(tmp_path, *(listener.getsockname()[1] for listener in listeners)) as other:
        with ThreadPoolExecutor() as pool:
            sent = pool.submit(other.send, "POST", "/api/v1/orders/", address="127.0.0.61", content=content)
            taken = _asked(listeners, b"POST")
            taken.close()
            answer = sent.result(10)
        again = _asked(listeners, b"POST", within=1.5)

    assert (answer[0], problem(answer)) == (503, "unavailable")
    assert again is None


def _asked(listeners, request, within=10.0):
    """The next connection with such a request, None if there is none in time; health checks are hung up on."""
    deadline = time.monotonic() + within
    while (left := deadline - time.monotonic()) > 0:
        for listener in select.select(listeners, [], [], left)[0]:
            connection, _ = listener.accept()
            connection.settimeout(5)
            if request in connection.recv(4096):
                return connection
            connection.close()
    return None


def test_sigterm_ends_the_gateway_after_what_is_under_way(gateway, tmp_path):
    listener = socket.create_server(("127.0.0.1", 0))
    ending = Gateway(tmp_path)
    ending.variables["GATEWAY_WEB"] = f"127.0.0.1:{listener.getsockname()[1]}"
    envoy = ending.start_envoy()
    eventually(lambda: _listens(ending.port), within=20, what=envoy.log)
    client = socket.create_connection(("127.0.0.1", ending.port), timeout=20)
    client.sendall(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
    upstream = _connection_asking(listener, b"/slow")

    envoy.popen.terminate()
    eventually(lambda: not _listens(ending.port), within=10)
    upstream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")

    assert client.recv(4096).endswith(b"done")
    assert envoy.popen.wait(15) in (0, 143)


def _listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _connection_asking(listener, path):
    """The upstream connection with this request; health checks are left unanswered."""
    while True:
        connection, _ = listener.accept()
        connection.settimeout(10)
        if path in connection.recv(4096):
            return connection


def test_a_configuration_that_envoy_would_not_start_with_is_refused_with_its_reason(settings):
    settings.GATEWAY_CONNECTIONS = -1

    with pytest.raises(CommandError, match="max_active_downstream_connections"):
        call_command("gateway_config", "--check")


def test_the_configuration_of_docker_compose_is_one_that_envoy_starts_with():
    lines = Path("deploy/envoy/compose.env").read_text(encoding="utf-8").split()

    done = subprocess.run(
        ["env", *lines, BIN / "python", "manage.py", "gateway_config", "--check"], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_a_crowd_served_too_late_keeps_no_later_customer_out(gateway):
    (worker,) = psutil.Process(gateway.web.popen.pid).children()
    with ThreadPoolExecutor(40) as pool:
        worker.suspend()
        try:
            crowd = [pool.submit(gateway.send, "GET", "/api/v1/sales/", address=f"127.0.5.{number}") for number in range(1, 41)]
            eventually(lambda: gateway.under_way("web") == 40, within=5)
            waited_since = time.time()
            eventually(lambda: time.time() - waited_since > REQUEST_WAIT_S, within=2 * REQUEST_WAIT_S)
        finally:
            worker.resume()
        late = [each.result() for each in crowd]

    assert {(answer[0], problem(answer), answer[1]["Retry-After"]) for answer in late} == {(503, "busy", "1")}
    assert gateway.send("GET", "/api/v1/sales/", address="127.0.5.100")[0] == 200


def test_nobody_chooses_when_a_request_came(gateway):
    forged = {"X-Request-Start": f"t={time.time() - 2 * REQUEST_WAIT_S:.3f}"}

    assert gateway.send("GET", "/api/v1/sales/", address="127.0.5.101", headers=forged.items())[0] == 200
    assert gateway.send("GET", "/api/v1/sales/", address="127.0.0.1", headers=forged.items(), port=gateway.web_port)[0] == 503


def test_connections_on_which_nothing_is_said_keep_nobody_out(gateway, tmp_path):
    with another_gateway(tmp_path, gateway.web_port, GATEWAY_CONNECTIONS="200") as other:
        eventually(other.is_ready, within=10)
        silent = [socket.create_connection(("127.0.0.1", other.port), source_address=("127.0.0.70", 0)) for _ in range(400)]
        try:
            asked = other.send("GET", "/health/live", address="127.0.0.1", port=other.operator_port)[0]
            eventually(other.is_ready, within=2)
        finally:
            for each in silent:
                each.close()

    assert asked == 200  # operators are let in at once
