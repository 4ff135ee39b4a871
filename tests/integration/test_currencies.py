"""Prices in currencies with no, two, three and four decimals: taken, refused, charged and shown."""

import json
from decimal import Decimal
from io import StringIO

import pytest
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.urls import reverse

from flashsale.core.redis_client import gate_client
from inventory.admission import gate, keys
from inventory.models import Sale, SaleItem
from orders import services
from orders.models import Order
from orders.selectors import waiting_view
from payments.models import Payment, SandboxCharge
from tasks.steps import request_payments
from tests.conftest import keep_asleep

pytestmark = pytest.mark.django_db(transaction=True)


def create(price, currency, **options):
    call_command("create_sale", "drop", sku="thing", units="5", price=price, currency=currency, stdout=StringIO(), **options)
    return SaleItem.objects.get(sale__slug="drop")


@pytest.mark.parametrize(
    ("price", "currency"),
    [
        ("100.50", "JPY"),
        ("100.01", "KRW"),
        ("1.234", "EUR"),
        ("1.2345", "KWD"),
        ("1.23456", "CLF"),
        ("10.00", "ZZZ"),
        ("10.00", "eur"),
        ("10.00", "EURO"),
        ("10.00", "XAU"),
        ("NaN", "EUR"),
        ("Infinity", "EUR"),
        ("1e3", "EUR"),
        ("-1.00", "EUR"),
    ],
)
def test_a_price_that_its_currency_cannot_have_makes_no_sale(price, currency):
    with pytest.raises(CommandError):
        create(price, currency)

    assert not Sale.objects.exists()


@pytest.mark.parametrize(
    ("price", "currency", "shown", "double"),
    [
        ("129.00", "EUR", "129.00", "258.00"),
        ("129", "EUR", "129.00", "258.00"),
        ("100", "JPY", "100", "200"),
        ("100.00", "JPY", "100", "200"),
        ("1.250", "KWD", "1.250", "2.500"),
        ("1.2345", "CLF", "1.2345", "2.4690"),
    ],
)
def test_a_price_is_shown_and_charged_to_its_last_decimal(customer, api, order, price, currency, shown, double):
    item = create(price, currency, per_customer="2")
    keep_asleep(item)

    [listed] = api.get("/api/v1/sales/drop/").json()["items"]
    assert (listed["price"], listed["currency"], listed["list_price"]) == (shown, currency, None)
    assert gate_client().hget(keys.meta(item.pk), "price") == shown

    order_id = order(item, customer, units=2).order_id
    assert amounts(api, order_id) == (shown, double, currency, None)
    claim = gate.claim(item.pk, consumer="c", limit=1, in_flight=1)
    services.deduct(item.pk, [admitted for _, admitted in claim.entries])
    assert amounts(api, order_id) == (shown, double, currency, None)
    services.create([order_id])
    request_payments.request_payments.run([str(order_id)])
    assert amounts(api, order_id) == (shown, double, currency, (double, currency))

    assert Order.objects.get().status == "paid"
    charge = SandboxCharge.objects.get()
    assert (charge.amount, charge.currency) == (Decimal(double), currency) == (Payment.objects.get().amount, currency)
    services.refund_by_staff(order_id, "staff")
    view = api.get(f"/api/v1/orders/{order_id}/").json()
    assert view["payment"]["refund"]["amount"] == double


def amounts(api, order_id):
    view = api.get(f"/api/v1/orders/{order_id}/").json()
    payment = view["payment"] and (view["payment"]["amount"], view["payment"]["currency"])
    return view["unit_price"], view["total"], view["currency"], payment


@pytest.mark.parametrize(("price", "shown"), [("100.00", "100"), ("100.0000", "100"), ("100", "100")])
def test_a_line_in_the_stream_of_another_release_is_read_and_judged_by_its_value(customer, order, price, shown):
    item = create("100", "JPY")
    keep_asleep(item)
    gate_client().hset(keys.meta(item.pk), "price", price)  # as that release wrote it
    order_id = order(item, customer).order_id
    claim = gate.claim(item.pk, consumer="c", limit=1, in_flight=1)
    [(_, admitted)] = claim.entries
    assert json.dumps(waiting_view(admitted)["unit_price"]) == f'"{shown}"'

    services.deduct(item.pk, [admitted])
    services.create([order_id])

    assert (Order.objects.get().status, Order.objects.get().unit_price) == ("reserved", Decimal(100))


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"price": "100.50", "currency": "JPY"}, "price"),
        ({"price": "100", "list_price": "120.5", "currency": "JPY"}, "list_price"),
        ({"price": "1.2345", "currency": "KWD"}, "price"),
        ({"currency": "ZZZ"}, "currency"),
        ({"currency": "eur"}, "currency"),
    ],
)
def test_the_admins_form_refuses_what_the_currency_cannot_have(admin_client, changes, wrong):
    item = create("10.00", "EUR")
    page = reverse("admin:inventory_saleitem_change", args=[item.pk])
    form = admin_client.get(page).context["adminform"].form
    values = {name: value for name in form.fields if (value := form.get_initial_for_field(form.fields[name], name)) is not None}

    answer = admin_client.post(page, values | changes)

    assert answer.status_code == 200
    assert wrong in answer.context["adminform"].form.errors
    item.refresh_from_db()
    assert (item.price, item.currency) == (Decimal("10.00"), "EUR")


def test_the_admin_shows_and_saves_the_decimals_of_the_currency(admin_client):
    item = create("1.250", "KWD")
    page = reverse("admin:inventory_saleitem_change", args=[item.pk])

    form = admin_client.get(page).context["adminform"].form
    assert str(form.get_initial_for_field(form.fields["price"], "price")) == "1.250"
    assert ">1.250<" in admin_client.get(reverse("admin:inventory_saleitem_changelist")).content.decode()
    values = {name: value for name in form.fields if (value := form.get_initial_for_field(form.fields[name], name)) is not None}
    answer = admin_client.post(page, values | {"price": "1.375"})

    assert answer.status_code == 302, answer.context["adminform"].form.errors
    item.refresh_from_db()
    assert item.price == Decimal("1.375")


def test_who_may_only_look_sees_the_decimals_of_the_currency(client, django_user_model):
    item = create("1.250", "KWD")
    viewer = django_user_model.objects.create_user("viewer", password="viewer", is_staff=True)
    viewer.user_permissions.set(Permission.objects.filter(codename__in=["view_sale", "view_saleitem"]))
    client.force_login(viewer)

    for page in ("saleitem", "sale"):
        key = item.pk if page == "saleitem" else item.sale_id
        text = client.get(reverse(f"admin:inventory_{page}_change", args=[key])).content.decode()
        assert ("1.250" in text, "1.2500" in text) == (True, False), page
