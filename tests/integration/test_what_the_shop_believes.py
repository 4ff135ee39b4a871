"""What of a client's headers reaches the shop, and what of them steers the gateway: nothing that only the gateway may say."""

import http.client
import socket
import threading
from pathlib import Path

import pytest
from django.core import signing

from flashsale.gateway import envoy_admin
from tests.integration.test_gateway import another_gateway

_SALT = "django.contrib.sessions.backends.signed_cookies"
BUCKETS = "x-canary-bucket"


class Shop:
    """Answers each request with ``status`` and keeps its headers, those of health checks aside."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.seen, self.status = [], 200
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection):
        with connection, connection.makefile("rb") as stream:
            while line := stream.readline():
                headers = http.client.parse_headers(stream)
                is_check = b"/health/live" in line
                if not is_check:
                    self.seen.append(headers)
                connection.sendall(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % (200 if is_check else self.status))


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    shop = Shop()
    unlimited = {"GATEWAY_ADDRESS_RATE": "100000", "GATEWAY_ADDRESS_BURST": "100000"}
    with another_gateway(tmp_path_factory.mktemp("believed"), shop.port, **unlimited) as gateway:

        def ask(*lines, status=200):
            shop.seen.clear()
            shop.status = status
            with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as client:
                head = ["GET /api/v1/sales/ HTTP/1.1", "Host: localhost", "Connection: close", *lines]
                client.sendall("".join(f"{line}\r\n" for line in [*head, ""]).encode("latin-1"))
                while client.recv(4096):
                    pass
            return list(shop.seen)

        ask.gateway = gateway
        yield ask
    shop.listener.close()


def bucket(asked, *lines):
    (seen,) = asked(*lines)
    return seen[BUCKETS]


def token(user, scheme="Bearer"):
    payload = signing.b64_encode(f'{{"token_type":"access","user_id":"{user}"}}'.encode()).decode()
    return f"Authorization: {scheme} e30.{payload}.c2lnbmVk"


def session(user, **more):
    return "sessionid=" + signing.dumps({"_auth_user_id": str(user), **more}, key="x" * 50, salt=_SALT)


def test_what_only_the_gateway_may_say_is_not_taken_from_a_client(asked):
    (seen,) = asked(
        "X-Forwarded-For: 198.51.100.1",
        "X-Forwarded-For: 198.51.100.2",
        "X_Forwarded_For: 198.51.100.3",
        "X-Forwarded-Proto: https",
        "X-Request-Start: t=1.0",
        "X-Canary-Bucket: 0",
        "X-Canary-Bucket: 1",
        "X-Envoy-External-Address: 198.51.100.4",
        "X-Envoy-Original-Path: /admin/",
        "X-Envoy-Anything: 1",
    )

    assert seen.get_all("x-forwarded-for") == ["127.0.0.1"]
    assert seen.get_all("x-forwarded-proto") == ["http"]
    assert [value != "t=1.0" for value in seen.get_all("x-request-start")] == [True]
    assert len(seen.get_all(BUCKETS)) == 1
    assert [name for name in seen if name.lower().startswith("x-envoy") or "_" in name] == []


@pytest.mark.parametrize(
    "lines",
    [
        ("X-Envoy-Max-Retries: 10", "X-Envoy-Retry-On: 5xx"),
        ("X-Envoy-Max-Retries: 10", "X-Envoy-Retry-On: retriable-status-codes", "X-Envoy-Retriable-Status-Codes: 503"),
        ("X-Envoy-Hedge-On-Per-Try-Timeout: true", "X-Envoy-Upstream-Rq-Per-Try-Timeout-Ms: 1"),
        ("X-Envoy-Upstream-Rq-Timeout-Ms: 1",),
    ],
)
def test_no_client_steers_retries_and_timeouts(asked, lines):
    assert len(asked(*lines, status=503)) == 1


def test_the_same_person_has_one_bucket_with_a_token_and_in_a_browser(asked):
    for user in range(1, 20):
        assert bucket(asked, token(user)) == bucket(asked, f"Cookie: {session(user, name='x')}")
    assert len({bucket(asked, token(user)) for user in range(1, 20)}) > 10


_TOKEN_DECOYS = [
    "Cookie: sessionid=decoy{}",
    "Cookie: xsessionid=decoy{}; a=b",
    "X-User: {}",
    "X-Canary-Bucket: {}",
    "X-Forwarded-For: 198.51.100.{}",
]


@pytest.mark.parametrize("decoy", _TOKEN_DECOYS)
def test_beside_a_token_nothing_else_chooses(asked, decoy):
    assert {bucket(asked, token(7), decoy.format(number)) for number in range(12)} == {bucket(asked, token(7))}


_SESSION_DECOYS = [
    "Cookie: xsessionid=decoy{0}; {1}",
    "Cookie: {1}; sessionid_=decoy{0}",
    "Cookie: a=sessionid=decoy{0}; {1}",
    "Cookie: theme=dark{0}; {1}",
]


@pytest.mark.parametrize("decoy", _SESSION_DECOYS)
def test_beside_a_session_no_other_cookie_chooses(asked, decoy):
    own = session(7)

    assert {bucket(asked, decoy.format(number, own)) for number in range(12)} in (
        {bucket(asked, f"Cookie: {own}")},
        {bucket(asked)},  # taken for two sessions: the shop gets none of them, and the address decides
    )


@pytest.mark.parametrize("scheme", ["Basic", "bearer", "Token"])
def test_beside_a_session_what_is_no_access_token_does_not_choose(asked, scheme):
    own = f"Cookie: {session(7)}"

    assert {bucket(asked, own, token(number, scheme)) for number in range(12)} == {bucket(asked, own)}


@pytest.mark.parametrize(
    "cookies",
    [
        ("Cookie: sessionid=a; sessionid=b; kept=1",),
        ("Cookie: sessionid=a; kept=1", "Cookie: sessionid=b"),
        ('Cookie: kept=1; sessionid="a"',),
        ("Cookie: kept=1; sessionid=\\141",),
        ("Cookie: kept=1; \xc2\xa0sessionid=a",),
        ("Cookie: kept=1; sessionid =a",),
    ],
)
def test_of_two_sessions_or_one_written_otherwise_the_shop_gets_none(asked, cookies):
    (seen,) = asked(*cookies)

    assert seen.get_all("cookie") == ["kept=1"]
    assert seen[BUCKETS] == bucket(asked)


def test_other_cookies_arrive_as_they_were_sent(asked):
    own = session(7)

    (seen,) = asked(f'Cookie: csrftoken=abc; {own}; messages="a b"')

    assert seen.get_all("cookie") == [f'csrftoken=abc; messages="a b"; {own}']


def test_nobody_but_its_user_opens_the_gateways_own_interface(asked):
    path = Path(asked.gateway.admin)

    assert path.is_socket()
    assert path.stat().st_mode & 0o777 == 0o600
    assert envoy_admin.ask(str(path), "/ready") == b"LIVE\n"
