"""A value is checked before it is converted, a command fails before it has written, one bad row breaks no reader."""

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from importlib import import_module

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import IntegrityError, connection, transaction
from django.urls import reverse

from flashsale.core.redis_client import gate_client
from inventory import catalog, services
from inventory.models import Product, Sale, SaleItem, StockMovement
from orders.models import Order
from payments.models import ProviderEvent
from tests.conftest import ROOT, environment, sandbox_signature
from tests.integration.test_admin import gate_away

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_workers")]
SALE = ("create_sale", "drop", "--sku", "thing", "--units", "5", "--price", "9.90")
SECRET = "A" * 32


def counts():
    return [model.objects.count() for model in (Sale, SaleItem, Product, StockMovement)], gate_client().dbsize()


# Commands


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (("--closes-at", "9999-12-31T23:59:59-05:00"), "--closes-at must be an RFC 3339 time"),
        (("--closes-at", "9999-12-31T23:59:59Z"), "--closes-at must be an RFC 3339 time"),
        (("--closes-at", "10000-01-01T00:00:00Z"), "--closes-at must be an RFC 3339 time"),
        (("--closes-at", "2100-01-01T00:00:01Z"), "2000 to the end of 2099"),
        (("--closes-at", "2026-02-30T00:00:00Z"), "--closes-at"),
        (("--closes-at", "tomorrow"), "--closes-at"),
        (("--opens-at", "0001-01-01T00:00:00+05:00"), "--opens-at must be an RFC 3339 time"),
        (("--opens-at", "1999-12-31T23:59:59Z"), "--opens-at must be an RFC 3339 time"),
        (
            ("--opens-at", "2030-01-02T00:00:00Z", "--closes-at", "2030-01-01T00:00:00Z"),
            "closing time must be after the opening time",
        ),
        (("--opens-at", "2099-12-31T00:00:00Z"), "2000 to 2099"),  # it would close a week later
        (("--price", "NaN"), "--price must be an amount"),
        (("--price", "sNaN"), "--price"),
        (("--price", "Infinity"), "--price must be an amount"),
        (("--price", "-Infinity"), "--price"),
        (("--price", "1e1000"), "digits"),
        (("--price", "1e-1000"), "digits"),
        (("--price", "1e999999999999999999999"), "--price"),
        (("--price", "-0.01"), "greater than"),
        (("--price", "12345678901.00"), "digits"),
        (("--price", "9.999"), "decimal"),
        (("--price", ""), "--price"),
        (("--units", "-1"), "--units"),
        (("--units", "1000000001"), "--units"),
        (("--units", "1.5"), "--units"),
        (("--units", "9" * 5000), "--units"),
        (("--per-customer", "0"), "--per-customer"),
        (("--per-customer", "-1"), "--per-customer"),
        (("--per-customer", "99999999999"), "--per-customer"),
        (("--payment-window", "nan"), "--payment-window"),
        (("--payment-window", "inf"), "--payment-window"),
        (("--payment-window", "-1"), "30 days"),
        (("--payment-window", "0"), "30 days"),
        (("--payment-window", "1e-9"), "30 days"),
        (("--payment-window", "1e400"), "--payment-window"),
        (("--waiting-room", "0"), "--waiting-room"),
        (("--waiting-room", "-1"), "--waiting-room"),
        (("--waiting-room", "100000"), "--waiting-room"),
        (("--waiting-room", "x"), "--waiting-room"),
        (("--sku", "../x"), "letters, digits"),
        (("--sku", "x\n"), "letters, digits"),
        (("--sku", "x\x00"), "letters, digits"),
        (("--sku", "x" * 65), "64 characters"),
        (("--sku", ""), "blank"),
        (("--currency", "eur"), "4217|currency"),
        (("--currency", "E\x00R"), "4217|currency"),
    ],
)
def test_an_impossible_sale_is_refused_before_anything_is_written(changed, said):
    before = counts()

    with pytest.raises(CommandError, match=said):
        call_command(*SALE, *changed)

    assert counts() == before


@pytest.mark.parametrize("slug", ["", "a b", "a/b", "ä", "x" * 65, "a\x00b", "drop\n"])
def test_a_slug_that_is_no_address_is_refused(slug):
    with pytest.raises(CommandError):
        call_command("create_sale", slug, *SALE[2:])

    assert counts() == ([0, 0, 0, 0], 0)


@pytest.mark.slow
def test_a_refused_command_ends_with_one_sentence_and_exit_code_1():
    done = subprocess.run(
        [sys.executable, "manage.py", *SALE, "--closes-at", "9999-12-31T23:59:59-05:00"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
    )

    assert done.returncode == 1
    assert done.stderr.startswith("CommandError: --closes-at must be an RFC 3339 time from 2000 to the end of 2099")
    assert len(done.stderr.splitlines()) == 1
    assert counts() == ([0, 0, 0, 0], 0)


def test_a_sale_made_while_the_gate_is_away_is_made_and_says_so(capsys):
    with gate_away():
        call_command(*SALE)

    assert "A sweep opens it" in capsys.readouterr().err
    assert SaleItem.objects.get().available == 5


def test_an_endless_crowd_is_not_made(django_user_model):
    for count in ("0", "-1", "10000001"):
        with pytest.raises(CommandError, match="--count"):
            call_command("issue_customer_tokens", "--count", count)

    assert not django_user_model.objects.exists()


def test_demo_data_with_its_weak_passwords_is_only_for_a_server_of_ours(settings, django_user_model):
    settings.DATABASE_IS_EMBEDDED = False

    with pytest.raises(CommandError, match="not the embedded server"):
        call_command("seed_demo")
    assert (django_user_model.objects.count(), counts()) == (0, ([0, 0, 0, 0], 0))

    call_command("seed_demo", "--force")
    settings.ALLOW_DEMO_DATA = True
    call_command("seed_demo")
    assert django_user_model.objects.filter(username__in=("staff", "customer")).count() == 2


def test_demo_data_is_made_on_the_server_that_the_stack_started(settings):
    assert settings.DATABASE_IS_EMBEDDED


# One bad row


@pytest.fixture
def unconstrained():
    """The table as it was before it had the constraint."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE inventory_sale DROP CONSTRAINT sale_times_within_reach")
    yield
    with connection.cursor() as cursor:
        cursor.execute("UPDATE inventory_sale SET opens_at = '2020-01-01', closes_at = '2030-01-01'")
        cursor.execute(
            "ALTER TABLE inventory_sale ADD CONSTRAINT sale_times_within_reach "
            "CHECK (closes_at <= '2100-01-01 00:00:00+00' AND opens_at >= '2000-01-01 00:00:00+00')"
        )


FAR = ["10000-01-01 04:59:59+00", "294276-12-31 00:00:00+00", "infinity"]


@pytest.mark.parametrize("closes_at", FAR)
def test_a_sale_whose_times_nobody_can_read_breaks_no_page(
    make_item, unconstrained, admin_client, api, customer, order, closes_at
):
    bad, good = make_item(slug="bad", sku="bad"), make_item(slug="good", sku="good")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE inventory_sale SET closes_at = %s WHERE slug = 'bad'", [closes_at])
        cursor.execute("UPDATE inventory_saleitem SET gate_version = gate_version + 1")
    catalog.forget()

    assert {sale["slug"] for sale in api.get("/api/v1/sales/").json()} == {"bad", "good"}
    assert api.get("/api/v1/sales/bad/").json()["closes_at"] == "9999-12-31T23:59:59.999999Z"
    assert api.post("/api/v1/sales/good/items/good/purchase-tokens/").status_code == 201
    order(good, customer)
    for name in ("inventory_sale", "inventory_saleitem", "inventory_stockmovement", "orders_order"):
        assert admin_client.get(reverse(f"admin:{name}_changelist")).status_code == 200, name
    for row in (bad, bad.sale):
        assert admin_client.get(reverse(f"admin:inventory_{row._meta.model_name}_change", args=[row.pk])).status_code == 200
    call_command("reconcile")
    call_command("audit")


@pytest.mark.parametrize("opens_at", ["0044-03-15 00:00:00+00 BC", "-infinity"])
def test_a_sale_that_opened_before_all_times_breaks_no_page(make_item, unconstrained, admin_client, api, opens_at):
    make_item(slug="bad", sku="bad")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE inventory_sale SET opens_at = %s", [opens_at])
    catalog.forget()

    assert api.get("/api/v1/sales/bad/").json()["opens_at"] == "0001-01-01T00:00:00Z"
    assert admin_client.get(reverse("admin:inventory_sale_changelist")).status_code == 200
    call_command("reconcile", "--force")


def test_the_migration_brings_the_times_of_old_sales_within_reach(make_item, unconstrained):
    items = [make_item(slug=slug, sku=slug) for slug in ("far", "near", "old")]
    with connection.cursor() as cursor:
        before = dict(SaleItem.objects.values_list("pk", "gate_version"))
        cursor.execute("UPDATE inventory_sale SET closes_at = 'infinity' WHERE slug = 'far'")
        cursor.execute("UPDATE inventory_sale SET opens_at = '0001-01-01', closes_at = '0002-01-01' WHERE slug = 'old'")
        cursor.execute(import_module("inventory.migrations.0006_times_within_reach").BRING_WITHIN_REACH)

    years = dict(Sale.objects.values_list("slug", "closes_at__year"))
    assert (years["far"], years["old"]) == (2100, 2000)
    versions = [SaleItem.objects.get(pk=item.pk).gate_version - before[item.pk] for item in items]
    assert versions == [1, 0, 1]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE inventory_sale SET payment_window = '170000000 years'",
        "UPDATE inventory_sale SET payment_window = '0'",
        "UPDATE inventory_sale SET payment_window = '31 days'",
        "UPDATE inventory_sale SET closes_at = '10000-01-01 04:59:59+00'",
        "UPDATE inventory_sale SET opens_at = '1999-12-31 00:00:00+00'",
        "UPDATE inventory_sale SET closes_at = 'infinity'",
        "UPDATE inventory_saleitem SET price = 'NaN'",
        "UPDATE inventory_saleitem SET list_price = 'NaN'",
    ],
)
def test_the_database_itself_takes_no_such_row(make_item, change):
    make_item()

    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(change)


def test_spans_and_times_out_of_reach_are_read_as_the_nearest():
    wanted = {
        "interval '178000000 years'": timedelta.max,
        "interval '-178000000 years'": timedelta.min,
        "interval '1 day 2 seconds'": timedelta(days=1, seconds=2),
        "null::interval": None,
        "null::timestamptz": None,
        "timestamptz '2026-01-02 03:04:05.678901+02'": datetime(2026, 1, 2, 1, 4, 5, 678901, tzinfo=UTC),
        "timestamptz 'infinity'": datetime.max.replace(tzinfo=UTC),
        "timestamptz '-infinity'": datetime.min.replace(tzinfo=UTC),
    }
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(wanted)}")
        assert dict(zip(wanted, cursor.fetchone(), strict=True)) == wanted


def test_an_empty_secret_verifies_no_event(client, settings):
    settings.PROVIDER_OPTIONS = {"sandbox": {"WEBHOOK_SECRET": ""}}
    body = b'{"id": "forged", "type": "charge.succeeded", "data": {"idempotency_key": "k"}}'
    for signature in (sandbox_signature(body), "", f"t={int(time.time())},v1="):
        answer = client.post(
            "/api/v1/payments/webhooks/sandbox/",
            body,
            content_type="application/json",
            headers={"Sandbox-Signature": signature},
        )
        assert (answer.status_code, answer.json()["code"]) == (400, "signature_invalid")
    assert not ProviderEvent.objects.exists()


def test_a_service_refuses_what_is_no_amount(make_item):
    sale = make_item().sale
    before = counts()
    for price, units in (("NaN", 1), ("Infinity", 1), ("1.00", -1), ("1.00", 1_000_000_001)):
        with pytest.raises(services.Invalid):
            services.add_item(sale=sale, sku="other", name="x", units=units, price=services.Decimal(price))

    assert counts() == before
    assert not Order.objects.exists()
