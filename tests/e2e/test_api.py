"""The API over real HTTP."""

import functools
import itertools
import json
import time
import urllib.error
import urllib.request

import pytest
from rest_framework_simplejwt.tokens import AccessToken

from flashsale.core.redis_client import gate_client
from inventory.admission import gate, keys
from orders.models import Order
from tests.conftest import Process, eventually, keep_asleep, running

pytestmark = pytest.mark.django_db(transaction=True)


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        raw = response.read()
        self.json = json.loads(raw) if raw and "json" in response.headers.get("Content-Type", "") else None
        self.text = raw.decode(errors="replace")


_numbers = itertools.count()


@pytest.fixture
def slug():
    """The web process remembers a sale for a second, so every test has one of its own."""
    return f"drop-{next(_numbers)}"


@pytest.fixture
def make_item(make_item, slug):
    return functools.partial(make_item, slug=slug)


@pytest.fixture
def http(live_url, slug):
    """``http(method, path, body, user)`` against the real web process; ``sales/drop/`` is the test's own sale."""

    def call(method, path, body=None, user=None, *, raw=None, headers=None):
        path = path.replace("sales/drop/", f"sales/{slug}/")
        sent = {"Content-Type": "application/json"} | (headers or {})
        if user is not None:
            sent["Authorization"] = f"Bearer {AccessToken.for_user(user)}"
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        url = path if path.startswith("http") else f"{live_url}{path if path[0] == '/' else f'/api/v1/{path}'}"
        request = urllib.request.Request(url, data=data, method=method, headers=sent)
        try:
            return Answer(urllib.request.urlopen(request, timeout=15))
        except urllib.error.HTTPError as error:
            return Answer(error)

    return call


@pytest.fixture
def buy(http, customer):
    """Buys one unit of ``drop/thing``; the answer to ``POST orders/``."""

    def post(user=customer, seq="1", **changes):
        token = http("POST", "sales/drop/items/thing/purchase-tokens/", {}, user).json["token"]
        body = {"token": token, "sku": "thing", "quantity": 1, "source": "shop", "seq": seq} | changes
        return body, http("POST", "orders/", body, user)

    return post


def test_the_first_sale_over_http(http, workers, make_item, django_user_model):
    make_item(units=3)
    user = django_user_model.objects.create_user("ada", password="enigma-1815")

    signed_in = http("POST", "auth/token/", {"username": "ada", "password": "enigma-1815"})
    assert signed_in.status == 200, signed_in.text
    bearer = {"Authorization": f"Bearer {signed_in.json['access']}"}
    issued = http("POST", "sales/drop/items/thing/purchase-tokens/", {}, headers=bearer)
    body = {
        "token": issued.json["token"],
        "sku": "thing",
        "quantity": 1,
        "source": "shop",
        "seq": "1",
        "payment_method": "pm_ok",
    }
    accepted = http("POST", "orders/", body, headers=bearer)

    assert (signed_in.status, issued.status, accepted.status) == (200, 201, 202)
    assert accepted.json["status"] == "queued"
    assert accepted.headers["Location"] == accepted.json["status_url"]
    url = accepted.json["status_url"]
    assert http("GET", url, headers=bearer).status == 200
    order = eventually(lambda: (answer := http("GET", url, headers=bearer)).json["status"] == "paid" and answer.json)
    assert {name: order[name] for name in ("sku", "quantity", "unit_price", "total", "currency", "source", "seq")} == {
        "sku": "thing",
        "quantity": 1,
        "unit_price": "10.00",
        "total": "10.00",
        "currency": "EUR",
        "source": "shop",
        "seq": "1",
    }
    assert order["payment"]["status"] == "succeeded"
    assert [event["status"] for event in order["history"]] == ["queued", "reserved", "pending_payment", "paid"]
    assert [each["id"] for each in http("GET", "orders/", headers=bearer).json] == [order["id"]]
    assert Order.objects.get().customer_id == user.pk


def test_a_replay_after_a_lost_answer_gives_the_same_order(http, make_item, buy, customer):
    make_item(units=3)
    body, first = buy()

    again = http("POST", "orders/", body, customer)

    assert (again.status, again.json) == (202, first.json)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers


def test_a_replay_is_known_after_the_gate_has_forgotten(http, make_item, buy, customer, workers):
    make_item(units=3)
    body, first = buy()
    eventually(lambda: Order.objects.exists())
    gate_client().delete(keys.receipt("shop", "1"))

    again = http("POST", "orders/", body, customer)

    assert (again.status, again.json["id"]) == (202, first.json["id"])


def test_a_replay_tells_the_present_status_of_its_order(http, make_item, buy, customer, workers):
    make_item(units=3)
    body, first = buy(payment_method="pm_ok")
    url = first.json["status_url"]
    eventually(lambda: http("GET", url, user=customer).json["status"] == "paid")

    again = http("POST", "orders/", body, customer)

    assert (again.status, again.json) == (202, {"id": first.json["id"], "status": "paid", "status_url": url})
    assert again.headers["Idempotency-Replayed"] == "true"


def test_without_postgresql_a_replay_claims_no_uncertain_status(http, make_item, buy, customer, stack):
    from django.db import connection

    item = make_item(units=3, per_customer=2)
    keep_asleep(item)
    waits, _ = buy(seq="waits")
    claimed, _ = buy(seq="claimed")
    connection.close()
    stack.servers["DATABASE_URL"].kill()
    try:
        first = http("POST", "orders/", waits, customer)
        gate.claim(item.pk, consumer="test", limit=10, in_flight=100)
        second = http("POST", "orders/", claimed, customer)
    finally:
        stack.servers["DATABASE_URL"].start()

    assert (first.status, first.json["status"]) == (202, "queued")
    assert (second.status, sorted(second.json)) == (202, ["id", "status_url"])


def test_a_price_that_was_not_shown_is_not_charged(http, make_item, buy, customer):
    item = make_item(units=3, price="199.00")
    body, refused = buy(unit_price="129.00")

    assert (refused.status, refused.json["code"], refused.json["unit_price"]) == (409, "price_changed", "199.00")
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert gate.stocks([item.pk]) == {item.pk: 3}
    accepted = http("POST", "orders/", body | {"unit_price": "199"}, customer)
    assert (accepted.status, accepted.headers.get("Idempotency-Replayed")) == (202, None)
    assert http("GET", accepted.json["status_url"], user=customer).json["unit_price"] == "199.00"
    again = http("POST", "orders/", body | {"unit_price": "199.00"}, customer)
    assert (again.status, again.json["id"]) == (202, accepted.json["id"])
    assert http("POST", "orders/", body, customer).status == 422


def test_unused_purchase_tokens_of_a_customer_are_capped(http, make_item, customers):
    item = make_item(units=3)
    hoarder, other = customers(2)

    answers = [http("POST", "sales/drop/items/thing/purchase-tokens/", {}, hoarder) for _ in range(12)]

    assert [answer.status for answer in answers] == [201] * 10 + [429] * 2
    assert (answers[-1].json["code"], 290 < int(answers[-1].headers["Retry-After"]) <= 300) == ("rate_limited", True)
    assert len(gate_client().keys(f"fs:{{{item.pk}}}:token:*")) == 10
    assert http("POST", "sales/drop/items/thing/purchase-tokens/", {}, other).status == 201


def test_the_same_seq_with_another_body_is_a_mismatch(http, make_item, buy, customer):
    make_item(units=3, per_customer=2)
    body, _ = buy()

    answer = http("POST", "orders/", body | {"quantity": 2}, customer)

    assert (answer.status, answer.json["code"]) == (422, "idempotency_mismatch")


def test_another_customers_seq_is_taken_and_nothing_is_told(http, make_item, buy, customers):
    make_item(units=3)
    first, second = customers(2)
    _, accepted = buy(first)

    _, answer = buy(second)

    assert (answer.status, answer.json["code"]) == (409, "seq_taken")
    assert accepted.json["id"] not in answer.text


def test_an_order_is_readable_from_the_202_on_by_its_customer_only(http, make_item, buy, customers):
    make_item(units=3)
    owner, stranger = customers(2)
    _, accepted = buy(owner)
    url = accepted.json["status_url"]

    assert http("GET", url, user=owner).json["status"] == "queued"
    assert [each["id"] for each in http("GET", "orders/", user=owner).json] == [accepted.json["id"]]
    assert (http("GET", url, user=stranger).status, http("GET", "orders/", user=stranger).json) == (404, [])
    assert http("POST", f"{url}cancel/", {}, stranger).status == 404
    assert http("POST", f"{url}pay/", {"payment_method": "pm_ok"}, stranger).status == 404


def test_an_unpaid_order_is_paid_by_its_customer(http, make_item, buy, customer, workers):
    make_item(units=3)
    _, accepted = buy()
    url = accepted.json["status_url"]
    eventually(lambda: http("GET", url, user=customer).json["status"] == "pending_payment")

    answers = [http("POST", f"{url}pay/", {"payment_method": "pm_ok"}, customer).status for _ in range(2)]

    assert answers == [202, 202]
    eventually(lambda: http("GET", url, user=customer).json["status"] == "paid")
    assert http("POST", f"{url}pay/", {"payment_method": "pm_ok"}, customer).status == 202
    late = http("POST", f"{url}cancel/", {}, customer)
    assert (late.status, late.json["code"]) == (409, "not_cancellable")


def test_a_cancelled_order_gives_its_unit_back(http, make_item, buy, customer, workers):
    item = make_item(units=1)
    _, accepted = buy()
    url = accepted.json["status_url"]
    eventually(lambda: http("GET", url, user=customer).json["status"] == "pending_payment")

    answers = [http("POST", f"{url}cancel/", {}, customer) for _ in range(2)]

    assert [(answer.status, answer.json["status"]) for answer in answers] == [(200, "cancelled")] * 2
    eventually(lambda: gate.stocks([item.pk]) == {item.pk: 1})
    refused = http("POST", f"{url}pay/", {"payment_method": "pm_ok"}, customer)
    assert (refused.status, refused.json["code"]) == (409, "not_payable")
    buy(seq="2")


def test_what_has_waited_for_longer_than_its_client_is_refused_unheard(http, make_item, customer):
    make_item()
    token = http("POST", "sales/drop/items/thing/purchase-tokens/", {}, customer).json["token"]
    body = {"token": token, "sku": "thing", "quantity": 1, "source": "shop", "seq": "late"}

    late = http("POST", "orders/", body, customer, headers={"X-Request-Start": f"t={time.time() - 6:.3f}"})

    assert (late.status, late.json["code"], late.headers["Retry-After"]) == (503, "busy", "1")
    again = http("POST", "orders/", body, customer, headers={"X-Request-Start": f"t={time.time() - 0.5:.3f}"})
    assert (again.status, again.headers.get("Idempotency-Replayed")) == (202, None)


@pytest.mark.parametrize("header", ["t=-1", "t=nan", "t=1", "soon", "t=", f"t={2**70}", "t=inf"])
def test_a_start_that_cannot_be_is_not_believed(http, header):
    assert http("GET", "sales/", headers={"X-Request-Start": header}).status == 200


def test_sales_are_public_and_cacheable_for_a_second(http, make_item, slug):
    make_item(units=3)

    answer = http("GET", "sales/drop/")

    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "public, max-age=1"
    assert (answer.json["state"], answer.json["items"][0]["remaining"]) == ("live", 3)
    assert set(answer.json) == {"slug", "name", "state", "opens_at", "closes_at", "server_time", "items"}
    assert slug in [sale["slug"] for sale in http("GET", "sales/").json]


@pytest.mark.parametrize(
    ("terms", "code"),
    [({"opens_in_s": 60}, "not_open"), ({"opens_in_s": -60, "closes_in_s": -1}, "ended"), ({"units": 0}, "sold_out")],
)
def test_no_token_outside_of_a_sale(http, make_item, customer, terms, code):
    make_item(**terms)

    answer = http("POST", "sales/drop/items/thing/purchase-tokens/", {}, customer)

    assert (answer.status, answer.json["code"]) == (409, code)


@pytest.mark.parametrize(
    "path", ["sales/nowhere/", "sales/nowhere/items/thing/purchase-tokens/", "sales/drop/items/other/purchase-tokens/"]
)
def test_an_unknown_sale_or_sku_is_not_found(http, make_item, customer, path):
    make_item()

    answer = http("POST" if "tokens" in path else "GET", path, {} if "tokens" in path else None, customer)

    assert (answer.status, answer.json["code"]) == (404, "not_found")


def test_a_token_of_somebody_else_an_old_one_and_a_made_up_one_are_invalid(http, make_item, customers):
    item = make_item()
    owner, thief = customers(2)
    token = http("POST", "sales/drop/items/thing/purchase-tokens/", {}, owner).json["token"]
    body = {"sku": "thing", "quantity": 1, "source": "shop", "seq": "1"}

    answers = [
        http("POST", "orders/", body | {"token": each}, thief)
        for each in (token, f"{item.pk}.{'x' * 32}", f"99.{'x' * 32}", "nonsense")
    ]
    gate_client().delete(keys.token(item.pk, token))
    answers.append(http("POST", "orders/", body | {"token": token}, owner))

    assert [(answer.status, answer.json["code"]) for answer in answers] == [(403, "token_invalid")] * 5


def test_a_used_token_says_so(http, make_item, buy, customer):
    make_item(per_customer=3)
    body, _ = buy()

    answer = http("POST", "orders/", body | {"seq": "2"}, customer)

    assert (answer.status, answer.json["code"]) == (409, "token_used")


def test_without_a_token_nobody_orders(http):
    for method, path in (("GET", "orders/"), ("POST", "orders/"), ("POST", "sales/drop/items/thing/purchase-tokens/")):
        answer = http(method, path, {} if method == "POST" else None)
        assert (answer.status, answer.json["code"]) == (401, "not_authenticated")
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert "Bearer" in answer.headers["WWW-Authenticate"]


GOOD = {"token": "1.x", "sku": "thing", "quantity": 1, "source": "shop", "seq": "1"}
BAD_BODIES = [
    *({name: value for name, value in GOOD.items() if name != left_out} for left_out in GOOD),
    *(GOOD | {"quantity": value} for value in (0, -1, "1", 1.0, 1.5, True, None, [], {}, 10**30, "x", 2**31)),
    *(GOOD | {"source": value} for value in ("", "Shop", "a b", "ä", "a" * 33, 1, None, [], "a\n", "a\x00")),
    *(GOOD | {"seq": value} for value in ("", "a b", "a" * 65, 1, None, {}, "1\n", "é", "a~b", "\ud800")),
    *(GOOD | {"sku": value} for value in ("", "a/b", 5, None, "\x00")),
    *(GOOD | {"token": value} for value in ("", " ", 5, None, "a" * 129, "ключ")),
    *(GOOD | {"payment_method": value} for value in ("", "pm_unheard", 1, None, [], "PM_OK")),
    *(
        GOOD | {"unit_price": value}
        for value in ("", " 1", "-1", "+1", "1e2", "1.", ".5", "1,5", "NaN", "1" * 13, 1, 1.5, None)
    ),
    *(GOOD | {"unit_price": value} for value in ("1.00000", "\u0661", "1\n", [], True)),
    GOOD | {"extra": 1},
    [],
    None,
    "text",
    5,
    [GOOD],
]


@pytest.mark.parametrize("body", BAD_BODIES, ids=repr)
def test_a_bad_body_is_refused_with_its_fields(http, customer, body):
    answer = http("POST", "orders/", raw=json.dumps(body).encode(), user=customer)

    assert (answer.status, answer.json["code"]) == (400, "invalid")
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"\xff\xfe", b"{" * 9000, b"[" * 16000, b'{"quantity": NaN}', b"1" * 5000, b'{"a": 1}}', b"\x00"]
)
def test_what_is_not_json_is_refused(http, customer, raw):
    for path in ("orders/", "auth/token/", "sales/drop/items/thing/purchase-tokens/"):
        answer = http("POST", path, raw=raw, user=None if "auth" in path else customer)
        assert answer.status in ((400, 404) if "tokens" in path else (400,)), (path, answer.text)


def test_a_quantity_over_the_items_limit_names_its_field(http, make_item, buy):
    make_item(units=3, per_customer=2)

    _, answer = buy(quantity=3)

    assert (answer.status, answer.json["code"], list(answer.json["errors"])) == (400, "invalid", ["quantity"])


def test_money_that_came_after_the_cancellation_is_seen_to_go_back(http, make_item, buy, customer, workers):
    make_item(units=1, window_s=1)
    _, accepted = buy(payment_method="pm_slow")

    def refunded():
        order = http("GET", accepted.json["status_url"], user=customer).json
        refund = order["payment"] and order["payment"]["refund"]
        return refund and refund["status"] == "succeeded" and order

    with running(Process("sweeper", "python", "manage.py", "sweep")):
        order = eventually(refunded, within=30)

    assert (order["status"], order["payment"]["status"]) == ("cancelled", "succeeded")
    assert order["payment"]["refund"] == {"status": "succeeded", "amount": "10.00", "reason": "order_not_waiting"}


@pytest.mark.parametrize("twice", [b'"quantity": 1, "quantity": 2', b'"seq": "1", "seq": "1"'])
def test_a_name_that_stands_twice_is_refused(http, make_item, customer, twice):
    item = make_item(units=3)
    token = http("POST", "sales/drop/items/thing/purchase-tokens/", {}, customer).json["token"]
    body = {"token": token, "sku": "thing", "quantity": 1, "source": "shop", "seq": "1"}

    answer = http("POST", "orders/", raw=json.dumps(body).encode()[:-1] + b", " + twice + b"}", user=customer)

    assert (answer.status, answer.json["code"]) == (400, "invalid")
    assert gate.stocks([item.pk]) == {item.pk: 3}
    assert http("POST", "orders/", body, customer).status == 202


KNOWN = {"username": "ada", "password": "12345"}


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        (KNOWN | {"password": 12345}, "password"),
        (KNOWN | {"username": 1}, "username"),
        (KNOWN | {"username": None}, "username"),
        (KNOWN | {"username": "a\x00"}, "username"),
        (KNOWN | {"password": ""}, "password"),
        (KNOWN | {"otp": "1"}, "otp"),
        ({"username": "ada"}, "password"),
    ],
)
def test_sign_in_takes_no_unknown_fields_and_no_other_types(http, django_user_model, body, wrong):
    django_user_model.objects.create_user("ada", password="12345")

    answer = http("POST", "auth/token/", body)

    assert (answer.status, answer.json["code"], list(answer.json["errors"])) == (400, "invalid", [wrong])


def test_access_tokens_are_renewed_and_kept_by_no_cache(http, django_user_model):
    django_user_model.objects.create_user("ada", password="12345")

    signed_in = http("POST", "auth/token/", KNOWN)
    renewed = http("POST", "auth/token/refresh/", {"refresh": signed_in.json["refresh"]})
    refused = [
        http("POST", "auth/token/refresh/", body) for body in ({"refresh": 1}, {"refresh": signed_in.json["refresh"], "x": 1})
    ]

    assert (signed_in.status, renewed.status, [each.status for each in refused]) == (200, 200, [400, 400])
    assert {answer.headers["Cache-Control"] for answer in (signed_in, renewed)} == {"no-store"}
    assert http("GET", "orders/", headers={"Authorization": f"Bearer {renewed.json['access']}"}).status == 200


def test_a_large_body_is_413_another_type_415_another_method_405(http, customer):
    large = http("POST", "orders/", raw=b'{"seq": "' + b"1" * 17_000 + b'"}', user=customer)
    form = http("POST", "orders/", raw=b"a=1", user=customer, headers={"Content-Type": "application/x-www-form-urlencoded"})
    method = http("DELETE", "orders/", user=customer)

    assert [(each.status, each.json["code"]) for each in (large, form, method)] == [
        (413, "too_large"),
        (415, "unsupported_media_type"),
        (405, "method_not_allowed"),
    ]


@pytest.mark.parametrize("path", ["orders/1/", "orders/not-a-uuid/", "nothing/", "sales/%00/", "sales/%F0%9F/"])
def test_an_address_that_is_none_is_404(http, customer, path):
    answer = http("GET", path, user=customer)

    assert (answer.status, answer.json["code"]) == (404, "not_found")


def test_a_left_out_slash_is_told_without_losing_the_request(http, live_url, customer):
    sent = urllib.request.Request(f"{live_url}/api/v1/orders", data=b"{}", method="POST")
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(sent, timeout=15)

    assert (raised.value.status, raised.value.headers["Location"]) == (308, "/api/v1/orders/")


def test_a_host_that_is_not_ours_is_refused_in_the_apis_shape(http):
    answer = http("GET", "sales/", headers={"Host": "elsewhere.example"})

    assert (answer.status, answer.json["code"]) == (400, "invalid")
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics"])
def test_operators_addresses_are_only_read(http, path):
    assert http("POST", path, {}).status == 405


@pytest.mark.parametrize("header", ["Bearer", "Bearer x", "Bearer a.b.c", "Basic eDp5", "Bearer \xff"])
def test_a_broken_access_token_is_401(http, header):
    assert http("GET", "orders/", headers={"Authorization": header.encode("latin-1").decode("latin-1")}).status == 401


def test_the_schema_tells_the_shape_of_errors_and_of_sign_in(http):
    schema = http("GET", "/api/schema/?format=json").json

    calls = [call for path in schema["paths"].values() for call in path.values()]
    assert all("application/problem+json" in call["responses"]["default"]["content"] for call in calls)
    assert set(schema["components"]["schemas"]["SignIn"]["properties"]) == {"username", "password"}
    assert set(schema["components"]["schemas"]["Tokens"]["properties"]) == {"access", "refresh"}


def test_the_schema_tells_of_pages_and_prices(http):
    schema = http("GET", "/api/schema/?format=json").json

    listed = schema["paths"]["/api/v1/orders/"]["get"]
    assert {each["name"]: each["in"] for each in listed["parameters"]} == {"limit": "query", "cursor": "query"}
    assert listed["responses"]["200"]["content"]["application/json"]["schema"]["type"] == "array"
    sent = schema["components"]["schemas"]["OrderRequest"]
    assert sent["properties"]["unit_price"]["type"] == "string"
    assert "unit_price" not in sent["required"]


def test_the_schema_the_docs_and_the_health_answer(http, workers):
    assert http("GET", "/api/schema/").status == 200
    assert http("GET", "/api/docs/").status == 200
    assert http("GET", "/health/live").status == 200
    assert eventually(lambda: http("GET", "/health/ready").json == {"ready": True, "missing": []})
    assert "flashsale_admissions_total" in http("GET", "/metrics").text


def test_redis_down_is_503_and_nothing_is_half_done(http, make_item, customer, stack):
    item = make_item(units=3)
    token = http("POST", "sales/drop/items/thing/purchase-tokens/", {}, customer).json["token"]
    body = {"token": token, "sku": "thing", "quantity": 1, "source": "shop", "seq": "1"}
    stack.servers["REDIS_URL"].stop()
    try:
        answer = http("POST", "orders/", body, customer)
        ready = http("GET", "/health/ready")
    finally:
        stack.servers["REDIS_URL"].start()

    assert (answer.status, answer.json["code"], answer.headers["Retry-After"]) == (503, "unavailable", "1")
    assert "redis" in ready.json["missing"]
    assert gate.stocks([item.pk]) == {item.pk: 3}
    assert http("POST", "orders/", body, customer).status == 202


def test_postgresql_down_still_admits(http, make_item, customer, stack):
    from django.db import connection

    make_item(units=3)
    token = http("POST", "sales/drop/items/thing/purchase-tokens/", {}, customer).json["token"]
    body = {"token": token, "sku": "thing", "quantity": 1, "source": "shop", "seq": "1"}
    connection.close()
    stack.servers["DATABASE_URL"].kill()
    try:
        accepted = http("POST", "orders/", body, customer)
        seen = http("GET", accepted.json["status_url"], user=customer)
        pay = http("POST", accepted.json["status_url"] + "pay/", {"payment_method": "pm_ok"}, customer)
    finally:
        stack.servers["DATABASE_URL"].start()

    assert (accepted.status, seen.status, seen.json["status"]) == (202, 200, "queued")
    assert (pay.status, pay.json["code"]) == (503, "unavailable")
