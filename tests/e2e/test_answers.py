"""What every answer says beside its body: to caches, to other sites' pages, to browsers; and what the schema says of bodies."""

import re
import time

import pytest

from tests.conftest import Process, eventually, running
from tests.e2e.browser import PASSWORD, Browser

pytestmark = pytest.mark.django_db(transaction=True)
NOBODYS = "orders/01890000-0000-7000-8000-000000000000/"
OTHER_SITE = "https://shop.example"


@pytest.fixture
def program(live_url, django_user_model):
    django_user_model.objects.create_superuser("ada", password=PASSWORD)
    client = Browser(live_url)
    client.refresh = client.get_tokens()
    return client


def problem(answer):
    status, body, headers = answer
    assert headers["Content-Type"] == "application/problem+json", answer
    assert body["status"] == status
    return status, body["code"]


CALLS = [
    ("POST", "sales/nowhere/items/thing/purchase-tokens/"),
    ("GET", "sales/nowhere/"),
    ("GET", "waiting-room/1.x/"),
    ("GET", "orders/"),
    ("POST", "orders/"),
    ("GET", NOBODYS),
    ("POST", f"{NOBODYS}pay/"),
    ("POST", f"{NOBODYS}cancel/"),
    ("POST", "auth/token/"),
    ("POST", "auth/token/refresh/"),
    ("POST", "auth/token/revoke/"),
    ("POST", "payments/webhooks/sandbox/"),
    ("GET", "sales/"),
]
_OPEN = re.compile(r"sales/(nowhere/)?$|auth|webhooks")


def test_every_refusal_of_every_call_is_a_problem(program):
    stranger = Browser(program.url)
    for method, path in CALLS:
        if not _OPEN.search(path):
            assert problem(stranger.send(method, path, {} if method == "POST" else None)) == (401, "not_authenticated")
        if path != "payments/webhooks/sandbox/":
            forms = {"Content-Type": "application/x-www-form-urlencoded"}
            if method == "POST" and "nowhere" not in path:
                assert problem(program.send("POST", path, headers=forms | {"Content-Length": "0"}))[0] in (400, 404, 415), path
        assert problem(program.send("DELETE", path)) == (405, "method_not_allowed")
    assert problem(program.send("GET", NOBODYS)) == (404, "not_found")


def test_no_cache_keeps_what_is_a_customers(program):
    answers = [program.send(method, path, {} if method == "POST" else None) for method, path in CALLS]

    kept = {path: headers["Cache-Control"] for (_, path), (_, _, headers) in zip(CALLS, answers, strict=True)}
    assert kept.pop("sales/") == "public, max-age=1"
    assert set(kept.values()) == {"no-store"}


def preflight(client, origin, path="orders/"):
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    return client.send("OPTIONS", path, headers=asked)


def test_pages_of_other_sites_may_not_call_the_api(program):
    _, _, headers = preflight(Browser(program.url), OTHER_SITE)
    assert "Access-Control-Allow-Origin" not in headers
    status, _, headers = program.send("GET", "orders/", headers={"Origin": OTHER_SITE})
    assert (status, "Access-Control-Allow-Origin" in headers) == (200, False)


def test_allowed_origin_may_call_the_api_and_read_headers(program):
    from flashsale.stack.servers import free_port

    port = free_port()
    command = ("granian", "--interface", "asginl", "--host", "127.0.0.1", "--port", str(port), "flashsale.asgi:application")
    with running(Process("cors", *command, CORS_ALLOWED_ORIGINS=OTHER_SITE)):
        other = Browser(f"http://127.0.0.1:{port}")
        eventually(lambda: _answers(other), within=30)
        status, _, headers = preflight(other, OTHER_SITE)
        assert (status, headers["Access-Control-Allow-Origin"]) == (200, OTHER_SITE)
        assert {"authorization", "content-type"} <= set(headers["Access-Control-Allow-Headers"].split(", "))
        assert "Access-Control-Allow-Credentials" not in headers
        other.bearer = program.bearer
        status, _, headers = other.send("GET", "orders/", headers={"Origin": OTHER_SITE})
        exposed = set(headers["Access-Control-Expose-Headers"].split(", "))
        assert (status, headers["Access-Control-Allow-Origin"]) == (200, OTHER_SITE)
        assert {"Retry-After", "Location", "Idempotency-Replayed", "RateLimit", "RateLimit-Policy", "Link"} <= exposed
        for origin in ("https://shop.example.evil.example", "http://shop.example", "null", "https://shop.example:444"):
            assert "Access-Control-Allow-Origin" not in preflight(other, origin)[2]
        assert "Access-Control-Allow-Origin" not in preflight(other, OTHER_SITE, "/admin/")[2]
        refused = Browser(other.url).send("POST", "orders/", {}, headers={"Origin": OTHER_SITE})
        assert (refused[0], refused[2]["Access-Control-Allow-Origin"]) == (401, OTHER_SITE)


def _answers(client):
    try:
        return client.send("GET", "/health/live")[0] == 200
    except OSError:
        return False


_INLINE = re.compile(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)|\son[a-z]+=|javascript:", re.IGNORECASE)
STAFF_PAGES = [
    "",
    "auth/user/",
    "auth/user/add/",
    "inventory/sale/",
    "inventory/sale/add/",
    "orders/order/",
    "limits/limitrule/add/",
]


@pytest.mark.parametrize(
    "page", ["/", "/login/", "/orders/", "/api/docs/", "/nowhere/", *(f"/admin/{each}" for each in STAFF_PAGES)]
)
def test_no_page_runs_what_was_written_into_it(program, page):
    browser = Browser(program.url).sign_in()

    _, text, headers = browser.send("GET", page)

    policy = dict(part.strip().partition(" ")[::2] for part in headers["Content-Security-Policy"].split(";"))
    script = policy.get("script-src", policy["default-src"])
    assert script == ("'self' 'unsafe-eval'" if page.startswith("/admin/") else "'self'")
    assert (policy["object-src"], policy["base-uri"], policy["frame-ancestors"]) == ("'none'",) * 3
    assert _INLINE.findall(text) == []


def test_what_the_api_says_can_be_no_page(program):
    for path in ("orders/", "/api/schema/", "nowhere/"):
        assert program.send("GET", path)[2]["Content-Security-Policy"].startswith("default-src 'none'")


def test_the_schema_says_what_a_body_may_hold_and_what_a_webhook_needs(program):
    schema = program.send("GET", "/api/schema/?format=json")[1]

    bodies = {
        content["schema"]["$ref"].rpartition("/")[2]
        for calls in schema["paths"].values()
        for call in calls.values()
        for content in call.get("requestBody", {}).get("content", {}).values()
        if "$ref" in content["schema"]
    }
    assert {"SignIn", "Refresh", "OrderRequest", "PayRequest"} <= bodies
    assert all(schema["components"]["schemas"][name]["additionalProperties"] is False for name in bodies)
    hook = schema["paths"]["/api/v1/payments/webhooks/{provider}/"]["post"]["parameters"]
    assert [(each["name"], each["required"]) for each in hook if each["in"] == "header"] == [("Sandbox-Signature", True)]


@pytest.mark.timed
def test_the_schema_is_built_once_and_costs_nothing_afterwards(program):
    client = Browser(program.url)
    first = client.send("GET", "/api/schema/")
    began = time.monotonic()
    again = [client.send("GET", "/api/schema/") for _ in range(60)]
    took = time.monotonic() - began

    assert {answer[1] for answer in again} == {first[1]}
    assert took < 1.5  # 47 ms each when it is built each time
    status, body, headers = client.send("GET", "/api/schema/", headers={"If-None-Match": first[2]["ETag"]})
    assert (status, body, headers["ETag"]) == (304, "", first[2]["ETag"])
    assert client.send("GET", "/api/schema/?format=json")[2]["ETag"] != first[2]["ETag"]


def test_what_is_wrong_with_a_field_says_what_would_be_right(program):
    body = {"token": "ä", "sku": "a/b", "quantity": 1, "source": "My Shop", "seq": "a b"}

    status, answer, _ = program.send("POST", "orders/", body)

    assert status == 400
    assert answer["errors"] == {
        "token": ["This must be a string of 1 to 128 printable ASCII characters."],
        "sku": ["This must be a string of 1 to 64 characters from A-Z a-z 0-9 . _ -, starting with a letter or digit."],
        "source": ["This must be a string of 1 to 32 characters from a-z 0-9 -."],
        "seq": ["This must be a string of 1 to 64 characters from A-Z a-z 0-9 . _ : -."],
    }
    assert program.send("POST", "orders/", body | {"token": "a\n"})[1]["errors"]["token"]
