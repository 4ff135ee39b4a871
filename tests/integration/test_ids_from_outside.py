"""Whatever stands where an id, a number or a text is wanted: the answer is a refusal, never a fault of ours."""

import json

import pytest

from flashsale.core.redis_client import gate_client
from tests.conftest import client_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_workers")]
SECRET = "A" * 32
GOOD = {"sku": "thing", "quantity": 1, "source": "shop", "seq": "1"}


@pytest.fixture
def admitted(make_item):
    """Nothing of these requests may move the gate."""
    make_item()
    before = _keys()
    yield
    assert _keys() == before


def _keys():
    """Of the gate; workers that another test has left running say there that they live."""
    return sorted(key for key in gate_client().scan_iter("fs:*") if not key.startswith("fs:workers:"))


@pytest.mark.parametrize("item", [2**28, 2**28 - 1, 300_000_000, 999_999_999])
def test_a_token_of_an_item_that_cannot_be_is_invalid(admitted, api, item):
    answer = api.post("/api/v1/orders/", GOOD | {"token": f"{item}.{SECRET}"}, format="json")

    assert (answer.status_code, answer.json()["code"]) == (403, "token_invalid")


@pytest.mark.parametrize(
    "token", [f"0.{SECRET}", f"01.{SECRET}", f"1000000000.{SECRET}", f"-1.{SECRET}", "x" * 200, f"1.{SECRET}\n"]
)
def test_a_token_that_is_none_is_refused(admitted, api, token):
    answer = api.post("/api/v1/orders/", GOOD | {"token": token}, format="json")

    assert answer.status_code in (400, 403)


@pytest.mark.parametrize("item", [2**28, 999_999_999, 10**30])
def test_a_ticket_of_an_item_that_cannot_be_is_no_fault(admitted, api, item):
    assert api.get(f"/api/v1/waiting-room/{item}.{SECRET}/").status_code in (404, 409)


@pytest.mark.parametrize("ticket", ["x", "%00", "%ED%A0%80", "1." + "A" * 5000, f"1.{SECRET}%0A", "١." + SECRET])
def test_a_ticket_that_is_none_is_404(admitted, api, ticket):
    assert api.get(f"/api/v1/waiting-room/{ticket}/").status_code in (400, 404)


UUIDS = [
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "ffffffff-ffff-7fff-bfff-ffffffffffff",
    "ffffffff-ffff-4fff-bfff-ffffffffffff",
    "00000000-0000-1000-8000-000000000000",
]


@pytest.mark.parametrize("order_id", UUIDS)
def test_an_order_id_of_any_kind_that_is_not_ours_is_404(admitted, api, order_id):
    assert api.get(f"/api/v1/orders/{order_id}/").status_code == 404
    assert api.post(f"/api/v1/orders/{order_id}/pay/", {"payment_method": "pm_ok"}, format="json").status_code == 404
    assert api.post(f"/api/v1/orders/{order_id}/cancel/", {}, format="json").status_code == 404


@pytest.mark.parametrize(
    "quantity", ["1e400", "-1e400", "1" + "0" * 5000, "9" * 400, "0", "-1", "1.0", "1e0", "NaN", "true", '"1"', "null", "[]"]
)
def test_a_number_of_any_kind_is_refused(admitted, api, quantity):
    token = json.dumps(f"1.{SECRET}")
    body = f'{{"token": {token}, "sku": "thing", "quantity": {quantity}, "source": "shop", "seq": "1"}}'

    assert api.post("/api/v1/orders/", body, content_type="application/json").status_code == 400


@pytest.mark.parametrize("field", ["token", "sku", "source", "seq", "payment_method"])
@pytest.mark.parametrize("value", ["\x00", "a\x00b", "\ud800", "x" * 9000, "١", "a\n", 10**400, 1e300, True, None, {}])
def test_a_text_of_any_kind_is_refused(admitted, api, field, value):
    body = json.dumps(GOOD | {"token": f"1.{SECRET}"} | {field: value})

    assert api.post("/api/v1/orders/", body, content_type="application/json").status_code in (400, 403)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=-1",
        "limit=1e9",
        "limit=" + "9" * 5000,
        "limit=%00",
        "cursor=%00",
        "cursor=x",
        "cursor=%ED%A0%80",
        "cursor=" + "A" * 4000,
    ],
)
def test_a_list_is_asked_for_in_any_way(admitted, api, query):
    assert api.get(f"/api/v1/orders/?{query}").status_code in (200, 400)


@pytest.mark.parametrize("slug", ["%00", "a%00b", "%ED%A0%80", "x" * 3000, "%F0%9F%98%80", "drop%0A", "..%2F.."])
def test_an_address_of_a_sale_that_cannot_be_is_404(admitted, api, client, slug):
    assert client.get(f"/api/v1/sales/{slug}/").status_code in (400, 404)
    assert client.get(f"/sales/{slug}/").status_code in (200, 400, 404)  # the page is the same for all; it asks the API
    for path in (f"/api/v1/sales/{slug}/items/thing/purchase-tokens/", f"/api/v1/sales/drop/items/{slug}/purchase-tokens/"):
        assert api.post(path).status_code in (400, 404), path


@pytest.mark.parametrize("value", ["\x00", "a\x00", "\ud800", "x" * 9000, 1, None, [], 10**400])
def test_sign_in_with_any_name_and_password_is_no_fault(client, db, value):
    for body in ({"username": value, "password": "x"}, {"username": "x", "password": value}):
        answer = client.post("/api/v1/auth/token/", json.dumps(body), content_type="application/json")
        assert answer.status_code in (400, 401, 413), body
    answer = client.post("/api/v1/auth/token/refresh/", json.dumps({"refresh": value}), content_type="application/json")
    assert answer.status_code in (400, 401, 413)


@pytest.mark.parametrize("name", ["\x00", "a\x00b", "x" * 9000, "\ud800"])
@pytest.mark.parametrize("page", ["/login/", "/admin/login/"])
def test_the_sign_in_pages_take_any_name(client, db, page, name):
    form = {"username": name.encode("utf-8", "surrogatepass"), "password": "x\x00"}

    assert client.post(page, form).status_code in (200, 400)
    assert client.post(page, {"username": "x", "password": "y", "next": "/\x00"}).status_code in (200, 400)


@pytest.mark.parametrize("length", ["²", "9" * 6000, "-1", "x"])
def test_an_announced_length_of_any_kind_is_no_fault(customer, length):
    answer = client_of(customer).post(
        "/api/v1/orders/", "{}", content_type="application/json", headers={"Content-Length": length}
    )

    assert answer.status_code in (400, 413)
