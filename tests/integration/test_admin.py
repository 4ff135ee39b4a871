"""What staff can do, and what the admin keeps from them."""

import re
from contextlib import contextmanager
from datetime import timedelta

import pytest
from celery.signals import after_task_publish
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.db.models.signals import pre_save
from django.test import override_settings
from django.urls import reverse

from flashsale.core.clock import now
from flashsale.core.redis_client import gate_client
from flashsale.ratelimit.rules.models import LimitRule
from flashsale.stack.servers import free_port
from inventory.admission import gate, keys
from inventory.errors import Ended, Paused
from inventory.models import Product, Sale, SaleItem, StockMovement
from orders import services as order_services
from orders.models import Order
from payments.models import Payment, ProviderEvent, Refund
from tasks.models import DeadLetter
from tasks.repair import gate_sync
from tasks.repair.audit import audit
from tasks.steps import create_orders, gate_effects
from tests.conftest import eventually

pytestmark = pytest.mark.django_db(transaction=True)

STOCK = ("allocated", "available", "reserved", "sold")


def stock_of(item):
    return SaleItem.objects.values_list(*STOCK).get(pk=item.pk)


def gate_of(item):
    """stock, held, sold"""
    seen = gate.snapshot(item.pk)
    assert seen
    return seen.stock, sum(units for _, units in seen.held.values()), seen.sold


def history_of(row):
    entries = LogEntry.objects.filter(content_type__model=row._meta.model_name, object_id=str(row.pk)).order_by("pk")
    return [(entry.user.username, entry.get_change_message()) for entry in entries]


def act(client, name, *rows):
    """Runs an action of the list on these rows; what it told."""
    client.cookies.pop("messages", None)  # those of the last action, which no page has shown
    model = rows[0]._meta
    url = reverse(f"admin:{model.app_label}_{model.model_name}_changelist")
    answer = client.post(url, {"action": name, "_selected_action": [str(row.pk) for row in rows]})
    if answer.status_code == 200 and "question" in answer.context:  # it asks first
        answer = client.post(url, answered(answer))
    assert answer.status_code == 302, answer.content
    return told(answer)


def answered(page):
    """What the browser sends when the question of an action is answered with yes."""
    form = {}
    for name, value in page.context["hidden"]:
        form.setdefault(name, []).append(value)
    return form


def told(answer):
    return [str(message) for message in get_messages(answer.wsgi_request)]


def page(row, name="change"):
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{name}", args=[row.pk])


def sale_form(sale, *items, added=(), **changes):
    """What the browser sends from the page of a sale."""
    form = {
        "name": sale.name,
        "opens_at_0": f"{sale.opens_at:%Y-%m-%d}",
        "opens_at_1": f"{sale.opens_at:%H:%M:%S}",
        "closes_at_0": f"{sale.closes_at:%Y-%m-%d}",
        "closes_at_1": f"{sale.closes_at:%H:%M:%S}",
        "payment_window": "0:10:00",
        "items-TOTAL_FORMS": len(items) + len(added),
        "items-INITIAL_FORMS": len(items),
    }
    for number, item in enumerate(items):
        row = {"id": item.pk, "sale": sale.pk, "product": item.product_id, "price": item.price}
        row |= {"currency": item.currency, "per_customer": item.per_customer}
        form |= {f"items-{number}-{name}": value for name, value in row.items()}
    for number, row in enumerate(added, len(items)):
        form |= {f"items-{number}-{name}": value for name, value in ({"currency": "EUR", "per_customer": 1} | row).items()}
    return form | changes


@contextmanager
def gate_away():
    """The address of the gate leads nowhere."""
    with override_settings(REDIS_URL=f"redis://127.0.0.1:{free_port()}"):
        gate_client.cache_clear()
        yield
    gate_client.cache_clear()


@contextmanager
def seller(client, *codenames):
    """A member of staff with these permissions and no more."""
    user = User.objects.create_user("seller", password="x", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client.force_login(user)
    yield client


@pytest.fixture
def letter():
    return DeadLetter.objects.create(
        task="tasks.create_orders", queue="orders", args=[[]], error_code="x", error="x", attempts=3, fingerprint="f"
    )


@pytest.fixture
def published():
    """What this process has given to the broker: task, queue, arguments."""
    seen = []

    def note(sender, body, routing_key, **_):
        seen.append((sender, routing_key, list(body[0])))

    after_task_publish.connect(note)
    yield seen
    after_task_publish.disconnect(note)


@pytest.fixture
def waiting_order(make_item, customer, order, deliver):
    """An order that waits for its payment, and its item."""
    item = make_item(units=5)
    admission = order(item, customer, units=1, method="")
    return item, deliver(admission.order_id)


@pytest.fixture
def deliver(workers):
    """Waits until the workers have made the order."""

    def wait(order_id):
        return eventually(
            lambda: Order.objects.filter(pk=order_id).exclude(status="reserved").first(), what="the order is a row"
        )

    return wait


# Pages


@pytest.mark.parametrize(
    "model", [Product, Sale, SaleItem, StockMovement, Order, Payment, Refund, ProviderEvent, DeadLetter, User]
)
def test_every_list_opens_and_searches(admin_client, make_item, letter, model):
    make_item()
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")

    assert admin_client.get(url).status_code == 200
    for term in ("thing", "0190f5a0-0000-7000-8000-000000000000", "%_'\\"):
        assert admin_client.get(url, {"q": term}).status_code == 200


def test_every_page_of_a_row_opens_with_its_history(admin_client, make_item, waiting_order, letter):
    item, order = waiting_order

    for row in (item.product, item.sale, item, item.movements.first(), order, letter, User.objects.first()):
        assert admin_client.get(page(row)).status_code == 200, row
        assert admin_client.get(page(row, "history")).status_code == 200, row
    assert admin_client.get(reverse("admin:index")).status_code == 200
    for model in ("inventory_product", "inventory_sale", "inventory_saleitem", "auth_user", "auth_group"):
        assert admin_client.get(reverse(f"admin:{model}_add")).status_code == 200, model


def test_an_order_is_found_by_id_customer_source_and_seq(admin_client, waiting_order):
    _, order = waiting_order
    url = reverse("admin:orders_order_changelist")

    for term in (str(order.pk), order.customer.username, order.source, order.seq):
        assert admin_client.get(url, {"q": term}).context["cl"].result_count == 1, term
    for term in ("0190f5a0-0000-7000-8000-000000000000", "nobody"):
        assert admin_client.get(url, {"q": term}).context["cl"].result_count == 0, term


def test_the_page_of_an_order_shows_its_history(admin_client, waiting_order):
    _, order = waiting_order

    text = admin_client.get(page(order)).content.decode()

    shown = ("Queued", "Reserved", "Pending Payment", "Show payments")
    assert [word for word in shown if word not in text] == []


# Sales and items


def test_a_new_sale_starts_with_no_units_and_has_a_gate(admin_client):
    product = Product.objects.create(sku="hat", name="Hat")
    sale = Sale(name="Hats", opens_at=now(), closes_at=now() + timedelta(hours=1))
    typed = {"product": product.pk, "price": "9.90", "allocated": 7, "available": 7}

    answer = admin_client.post(reverse("admin:inventory_sale_add"), sale_form(sale, added=[typed], slug="hats", state="ended"))

    assert answer.status_code == 302, answer.context["errors"]
    item = SaleItem.objects.get(sale__slug="hats")
    assert stock_of(item) == (0, 0, 0, 0)
    assert not item.movements.exists()
    assert item.sale.state == "open"
    assert gate_of(item) == (0, 0, 0)


def test_stock_columns_cannot_be_typed_over(admin_client, make_item):
    item = make_item(units=10)
    typed = dict.fromkeys(STOCK, 99) | {"gate_version": 0}

    inline = admin_client.post(
        page(item.sale), sale_form(item.sale, item, **{f"items-0-{name}": value for name, value in typed.items()})
    )
    own = admin_client.post(page(item), {"price": "10.00", "currency": "EUR", "per_customer": 1} | typed)

    assert (inline.status_code, own.status_code) == (302, 302)
    assert stock_of(item) == (10, 10, 0, 0)
    assert gate_of(item) == (10, 0, 0)
    item.refresh_from_db()
    assert item.gate_version > 1


@pytest.fixture
def moved_meanwhile():
    """The pipeline reserves 3 units of each item of 10 after a form has read it and before it is written."""

    def move(instance, **_):
        SaleItem.objects.filter(pk=instance.pk, available=10).update(available=7, reserved=3)

    yield lambda: pre_save.connect(move, sender=SaleItem, weak=False)
    pre_save.disconnect(move, sender=SaleItem)


def test_a_saved_price_does_not_undo_what_the_pipeline_moved_meanwhile(admin_client, make_item, moved_meanwhile):
    first, second = make_item(units=10), make_item(units=10, slug="other", sku="other")
    moved_meanwhile()

    admin_client.post(page(first.sale), sale_form(first.sale, first, **{"items-0-price": "8.00"}))
    admin_client.post(page(second), {"price": "8.00", "currency": "EUR", "per_customer": 1})

    for item in (first, second):
        item.refresh_from_db()
        assert (stock_of(item), str(item.price)) == ((10, 7, 3, 0), "8.00")


def test_a_form_opened_before_a_pause_does_not_undo_it(admin_client, make_item):
    item = make_item()
    gate_sync.set_state("drop", Sale.State.PAUSED)

    assert admin_client.post(page(item.sale), sale_form(item.sale, item, name="New", state="open")).status_code == 302

    sale = Sale.objects.get()
    assert (sale.name, sale.state) == ("New", "paused")


def test_new_terms_reach_the_gate(admin_client, make_item, customer):
    item = make_item()
    late = item.sale.closes_at.replace(year=item.sale.closes_at.year + 1)
    before = SaleItem.objects.get().gate_version

    admin_client.post(page(item.sale), sale_form(item.sale, item, closes_at_0=f"{late:%Y-%m-%d}"))
    assert gate.snapshot(item.pk).version == SaleItem.objects.get().gate_version == before + 1

    admin_client.post(page(item), {"price": "7.00", "currency": "EUR", "per_customer": 1})
    # Raised by the change of the price and by the form.
    assert gate.snapshot(item.pk).version == SaleItem.objects.get().gate_version == before + 2


def test_a_sale_is_saved_while_the_gate_is_away_and_says_so(admin_client, make_item):
    item = make_item()

    with gate_away():
        answer = admin_client.post(page(item.sale), sale_form(item.sale, item, name="Renamed"))

    assert answer.status_code == 302
    assert any("Redis is updated within a second" in text for text in told(answer))
    assert Sale.objects.get().name == "Renamed"
    seen, wanted = gate.snapshot(item.pk).version, SaleItem.objects.get().gate_version
    assert seen < wanted
    gate_sync.refresh_gates()
    assert gate.snapshot(item.pk).version == wanted


def test_an_item_keeps_its_product_and_its_sale(admin_client, make_item):
    item, other = make_item(), make_item(slug="other", sku="other")

    admin_client.post(page(item.sale), sale_form(item.sale, item, **{"items-0-product": other.product_id}))
    terms = {"price": "10.00", "currency": "EUR", "per_customer": 1}
    admin_client.post(page(item), terms | {"product": other.product_id, "sale": other.sale_id})

    kept = SaleItem.objects.get(pk=item.pk)
    assert (kept.product_id, kept.sale_id) == (item.product_id, item.sale_id)


def test_what_has_movements_cannot_be_deleted(admin_client, make_item):
    item = make_item(units=1)

    for row in (item.sale, item, item.product):
        answer = admin_client.post(page(row, "delete"), {"post": "yes"})
        assert "would require deleting the following protected" in answer.content.decode()
        url = reverse(f"admin:inventory_{row._meta.model_name}_changelist")
        form = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
        assert admin_client.post(url, form).status_code == 200
    inline = admin_client.post(page(item.sale), sale_form(item.sale, item, **{"items-0-DELETE": "on"}))

    assert inline.status_code == 200
    assert stock_of(item) == (1, 1, 0, 0)


def test_an_item_without_movements_can_be_deleted(admin_client, make_item):
    item = make_item(units=0)

    assert admin_client.post(page(item.sale), sale_form(item.sale, item, **{"items-0-DELETE": "on"})).status_code == 302
    assert not SaleItem.objects.exists()
    url = reverse("admin:inventory_sale_changelist")
    admin_client.post(url, {"action": "delete_selected", "_selected_action": [item.sale.pk], "post": "yes"})
    assert not Sale.objects.exists()


def test_pause_stops_the_gate_and_resume_opens_it_again(admin_client, make_item, customer):
    item = make_item()

    act(admin_client, "pause", item.sale)
    with pytest.raises(Paused):
        gate.issue_token(item.pk, customer.pk)
    act(admin_client, "resume", item.sale)
    assert gate.issue_token(item.pk, customer.pk).token
    act(admin_client, "end", item.sale)
    with pytest.raises(Ended):
        gate.issue_token(item.pk, customer.pk)

    assert history_of(item.sale) == [("admin", "Paused."), ("admin", "Resumed."), ("admin", "Ended.")]


def test_a_button_asks_first_and_acts_on_its_answer(admin_client, make_item):
    sale = make_item().sale
    url = reverse("admin:inventory_sale_press_pause", args=[sale.pk])

    assert admin_client.get(url).status_code == 200
    assert Sale.objects.get().state == "open"
    answer = admin_client.post(url, {"_form_submitted": "True"}, headers={"HX-Request": "true"})

    assert answer.headers["HX-Redirect"] == page(sale)
    assert Sale.objects.get().state == "paused"
    assert history_of(sale) == [("admin", "Paused.")]


def test_a_pause_while_the_gate_is_away_is_kept_and_reported(admin_client, make_item):
    sale = make_item().sale

    with gate_away():
        answer = act(admin_client, "pause", sale)

    assert any("Redis is updated within a second" in text for text in answer)
    assert Sale.objects.get().state == "paused"
    assert history_of(sale) == [("admin", "Paused.")]


def test_reconcile_shows_gate_beside_ledger_and_mends(admin_client, make_item):
    item = make_item(units=10)
    gate_client().delete(*[key for key in gate_client().scan_iter() if f"{{{item.pk}}}" in key])

    answer = act(admin_client, "reconcile", item.sale)

    assert re.search(
        r"thing, gate / ledger: stock missing / 10, held missing / 0, sold missing / 0; in flight 0; drift", answer[0]
    )
    assert gate_of(item) == (10, 0, 0)
    assert history_of(item.sale) == [("admin", "Reconciled, gates rebuilt: thing.")]
    assert "stock 10 / 10" in act(admin_client, "reconcile", item.sale)[0]
    assert history_of(item.sale)[-1] == ("admin", "Reconciled, no drift.")


# Stock


def test_adjusted_stock_is_in_the_ledger_the_gate_and_the_history(admin_client, make_item):
    item = make_item(units=10)

    more = admin_client.post(page(item, "adjust_stock"), {"units": 5, "reason": "found a box"})
    less = admin_client.post(page(item, "adjust_stock"), {"units": -3, "reason": "damaged"})

    assert (more.status_code, less.status_code) == (302, 302)
    assert stock_of(item) == (12, 12, 0, 0)
    assert gate_of(item) == (12, 0, 0)
    rows = item.movements.filter(kind="adjust").order_by("pk").values_list("units", "actor", "reason")
    assert list(rows) == [(5, "admin", "found a box"), (-3, "admin", "damaged")]
    assert history_of(item) == [("admin", "Adjusted stock by +5: found a box"), ("admin", "Adjusted stock by -3: damaged")]
    assert audit().is_clean


def test_more_than_is_free_cannot_be_taken_away(admin_client, waiting_order):
    item, _ = waiting_order
    before = stock_of(item), gate_of(item), item.movements.count()

    answer = admin_client.post(page(item, "adjust_stock"), {"units": -5, "reason": "too many"})

    assert any("Not enough available units" in text for text in told(answer))
    assert (stock_of(item), gate_of(item), item.movements.count()) == before
    assert history_of(item) == []


@pytest.mark.parametrize(
    "form",
    [
        {"units": 5},
        {"units": 0, "reason": "x"},
        {"units": "x", "reason": "x"},
        {"units": 10**12, "reason": "x"},
        {"units": 1, "reason": " "},
    ],
)
def test_an_adjustment_needs_units_and_a_reason(admin_client, make_item, form):
    item = make_item(units=10)

    assert admin_client.get(page(item, "adjust_stock")).status_code == 200
    assert admin_client.post(page(item, "adjust_stock"), form).status_code == 200

    assert stock_of(item) == (10, 10, 0, 0)
    assert item.movements.count() == 1


def test_an_adjustment_while_the_gate_is_away_changes_nothing(admin_client, make_item):
    item = make_item(units=10)

    with gate_away():
        answer = admin_client.post(page(item, "adjust_stock"), {"units": 5, "reason": "found"})

    assert told(answer)[0].startswith("Nothing was changed.")
    assert stock_of(item) == (10, 10, 0, 0)
    assert (item.movements.count(), history_of(item)) == (1, [])


# Orders


def test_orders_are_not_added_changed_or_deleted(admin_client, waiting_order):
    _, order = waiting_order
    before = Order.objects.values().get()

    assert admin_client.get(reverse("admin:orders_order_add")).status_code == 403
    assert admin_client.post(reverse("admin:orders_order_add"), {}).status_code == 403
    assert admin_client.post(page(order), {"status": "paid", "quantity": 9}).status_code == 403
    assert admin_client.post(page(order, "delete"), {"post": "yes"}).status_code == 403
    url = reverse("admin:orders_order_changelist")
    admin_client.post(url, {"action": "delete_selected", "_selected_action": [str(order.pk)], "post": "yes"})

    assert Order.objects.values().get() == before


@pytest.mark.parametrize(
    "name", ["inventory_stockmovement", "payments_payment", "payments_refund", "payments_providerevent", "tasks_deadletter"]
)
def test_records_are_not_added_by_hand(admin_client, name):
    assert admin_client.post(reverse(f"admin:{name}_add"), {}).status_code == 403


def test_a_cancelled_order_gives_its_units_back(admin_client, waiting_order):
    item, order = waiting_order
    assert gate_of(item) == (4, 1, 0)

    act(admin_client, "cancel", order)

    order.refresh_from_db()
    assert (order.status, order.reason) == ("cancelled", "by_staff")
    assert order.history.last().actor == "admin"
    assert stock_of(item) == (5, 5, 0, 0)
    assert gate_of(item) == (5, 0, 0)
    assert history_of(order) == [("admin", "Cancelled by staff.")]


def test_an_order_cancelled_while_the_gate_is_away_is_released_later(admin_client, waiting_order):
    item, order = waiting_order

    with gate_away():
        answer = act(admin_client, "cancel", order)

    assert any("Redis is updated within a second" in text for text in answer)
    assert stock_of(item) == (5, 5, 0, 0)
    assert gate_of(item) == (4, 1, 0)
    gate_effects.apply()
    assert gate_of(item) == (5, 0, 0)


def test_only_a_paid_order_is_refunded(admin_client, make_item, customer, order, workers):
    item = make_item(units=5)
    paid = order(item, customer, method="pm_ok")
    row = eventually(lambda: Order.objects.filter(pk=paid.order_id, status="paid").first())

    answer = act(admin_client, "refund", row)
    again = act(admin_client, "refund", row)

    row.refresh_from_db()
    assert row.status == "refunded"
    assert Refund.objects.get().reason == "by_staff"
    assert stock_of(item) == (5, 4, 0, 1)
    assert any("refunded" in text for text in answer)
    assert any("Only a paid order" in text for text in again)
    assert history_of(row) == [("admin", "Refunded by staff.")]


def test_one_refused_order_does_not_keep_the_others_back(admin_client, make_item, customers, order, deliver):
    item = make_item(units=5)
    first, second = (deliver(order(item, buyer, method="").order_id) for buyer in customers(2))
    order_services.cancel_by_staff(first.pk, "somebody")

    answer = act(admin_client, "cancel", first, second)

    assert any("cannot be cancelled" in text for text in answer)
    assert list(Order.objects.values_list("status", flat=True)) == ["cancelled", "cancelled"]
    assert (history_of(first), history_of(second)) == ([], [("admin", "Cancelled by staff.")])


# Dead letters


def test_run_again_publishes_the_step_and_closes_the_letter(admin_client, letter, published):
    act(admin_client, "run_again", letter)
    again = act(admin_client, "run_again", letter)

    assert published == [("tasks.create_orders", "orders", [[]])]
    letter.refresh_from_db()
    assert letter.resolved_at
    assert letter.resolved_by == "admin"
    assert any("Nothing was published" in text for text in again)
    assert history_of(letter) == [("admin", "Run again.")]


@pytest.fixture
def unwanted(make_item, customer, order):
    """A letter of an order whose customer is gone, and its item."""
    item = make_item(units=5)
    gate_client().hset(keys.meta(item.pk), "awake_until", 9_999_999_999_999_999)
    order(item, customer)
    claim = gate.claim(item.pk, consumer="c", limit=1, in_flight=1)
    customer.delete()
    ids = order_services.deduct(item.pk, [each for _, each in claim.entries])
    gate.ack(item.pk, claim.entries)
    create_orders.create(ids)
    return item, DeadLetter.objects.get()


def test_reject_order_gives_its_units_back_and_closes_the_letter(admin_client, unwanted):
    item, letter = unwanted
    assert (stock_of(item), gate_of(item)) == ((5, 4, 1, 0), (4, 1, 0))
    order_id = letter.args[0][0]

    said = act(admin_client, "reject", letter)
    again = act(admin_client, "reject", letter)

    assert (stock_of(item), gate_of(item)) == ((5, 5, 0, 0), (5, 0, 0))
    letter.refresh_from_db()
    assert (letter.resolved_by, letter.resolved_at is not None) == ("admin", True)
    assert said == [f"{letter} is closed. Rejected: {order_id}."]
    assert again == [f"{letter} is already closed. Nothing was rejected."]
    assert history_of(letter) == [("admin", f"Rejected: {order_id}.")]
    assert audit().is_clean


def test_the_button_of_a_letter_rejects_too_and_the_gate_may_learn_it_later(admin_client, unwanted):
    item, letter = unwanted
    press = reverse("admin:tasks_deadletter_press_reject", args=[letter.pk])

    with gate_away():
        answer = admin_client.post(press, {"_form_submitted": "True"})

    assert any("Saved. Redis is updated within a second." in text for text in told(answer))
    assert (stock_of(item), gate_of(item)) == ((5, 5, 0, 0), (4, 1, 0))
    gate_effects.apply()
    assert gate_of(item) == (5, 0, 0)


def test_a_letter_of_no_order_is_not_rejected(admin_client, letter):
    said = act(admin_client, "reject", letter)

    letter.refresh_from_db()
    assert letter.resolved_at is None
    assert any("is not about a single order" in text for text in said)
    assert history_of(letter) == []


def test_a_letter_offers_what_can_be_done_about_it(admin_client, letter, published):
    def offered(row):
        shown = admin_client.get(page(row)).content.decode()
        return [name for name in ("run_again", "reject") if f"/{name.replace('_', '-')}" in shown]

    assert offered(letter) == ["run_again", "reject"]
    DeadLetter.objects.filter(pk=letter.pk).update(task="tasks.dispatch", args=[1, "{"])
    assert offered(letter) == ["reject"]
    said = act(admin_client, "run_again", letter)

    assert any("cannot be run again" in text for text in said)
    assert published == []
    DeadLetter.objects.filter(pk=letter.pk).update(resolved_at=now())
    assert offered(letter) == []


# Permissions


def test_who_may_only_look_cannot_act(client, make_item, waiting_order, letter):
    item, order = waiting_order
    with seller(client, "view_sale", "view_saleitem", "view_order", "view_deadletter") as looker:
        for name, row in (("pause", item.sale), ("cancel", order), ("run_again", letter), ("reject", letter)):
            assert looker.get(page(row)).status_code == 200
            url = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_changelist")
            looker.post(url, {"action": name, "_selected_action": [str(row.pk)]})
            pressed = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_press_{name}", args=[row.pk])
            assert looker.post(pressed, {"_form_submitted": "True"}).status_code == 403
        assert looker.post(page(item, "adjust_stock"), {"units": 1, "reason": "x"}).status_code == 403

    order.refresh_from_db()
    letter.refresh_from_db()
    assert (Sale.objects.get().state, order.status, letter.resolved_at) == ("open", "pending_payment", None)
    assert stock_of(item) == (5, 4, 1, 0)
    assert not LogEntry.objects.exists()


def test_who_may_change_orders_may_cancel_them(client, waiting_order):
    _, order = waiting_order
    with seller(client, "view_order", "change_order") as worker:
        act(worker, "cancel", order)

    assert history_of(order) == [("seller", "Cancelled by staff.")]


@pytest.mark.parametrize("ticked", ["abc", "\x00", "9" * 30, ""])
@pytest.mark.parametrize(
    ("name", "model"), [("pause", Sale), ("cancel", Order), ("run_again", DeadLetter), ("disable", LimitRule)]
)
def test_an_action_on_what_can_be_no_row_does_nothing(admin_client, waiting_order, letter, name, model, ticked):
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")

    answer = admin_client.post(url, {"action": name, "_selected_action": [ticked]})

    assert answer.status_code in (200, 302)
    assert (Sale.objects.get().state, Order.objects.get().status) == ("open", "pending_payment")


def test_what_is_not_there_is_no_error(admin_client, make_item):
    make_item()
    for path in ("inventory/saleitem/999/adjust-stock/", "inventory/saleitem/x/adjust-stock/", "orders/order/x/change/"):
        assert admin_client.get(f"/admin/{path}").status_code == 302, path
    assert admin_client.post("/admin/orders/order/x/cancel/", {"_form_submitted": "True"}).status_code == 302
