"""The way of an order through real workers."""

import threading
from collections import Counter

import pytest
from django.db import connections

from flashsale.core.errors import FlashsaleError
from inventory.admission import gate
from inventory.errors import LimitPerCustomer, SoldOut
from orders.models import Order
from tasks.repair.audit import audit
from tests.conftest import eventually

pytestmark = pytest.mark.django_db(transaction=True)


def status_of(admission):
    return Order.objects.filter(pk=admission.order_id).values_list("status", flat=True).first()


def together(count, action):
    """Runs ``action(index)`` in ``count`` threads at once; what each returned or raised."""
    results: list[object] = [None] * count
    barrier = threading.Barrier(count)

    def run(index):
        barrier.wait()
        try:
            results[index] = action(index)
        except FlashsaleError as error:
            results[index] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_an_order_with_a_payment_method_is_paid_by_the_chain_alone(workers, make_item, customer, order):
    item = make_item(units=3)

    admission = order(item, customer)

    eventually(lambda: status_of(admission) == "paid")
    row = Order.objects.get(pk=admission.order_id)
    assert [event.status for event in row.history.all()] == ["queued", "reserved", "pending_payment", "paid"]
    item.refresh_from_db()
    assert (item.allocated, item.available, item.reserved, item.sold) == (3, 2, 0, 1)
    report = eventually(lambda: (r := audit()) and not r.in_flight and r)
    assert report.is_clean, report


def test_the_last_unit_goes_to_exactly_one_of_fifty_at_once(workers, make_item, customers, order):
    item = make_item(units=1)
    buyers = customers(50)
    tokens = [gate.issue_token(item.pk, buyer.pk).token for buyer in buyers]

    results = together(50, lambda n: order(item, buyers[n], token=tokens[n]))

    assert Counter(type(result) for result in results) == {gate.Admission: 1, SoldOut: 49}
    winner = next(result for result in results if isinstance(result, gate.Admission))
    eventually(lambda: status_of(winner) == "paid")
    assert Order.objects.count() == 1


def test_the_customers_limit_holds_with_two_tokens_at_once(workers, make_item, customer, order):
    item = make_item(units=10, per_customer=1)
    tokens = [gate.issue_token(item.pk, customer.pk).token for _ in range(2)]

    results = together(2, lambda n: order(item, customer, token=tokens[n]))

    assert {type(result) for result in results} == {gate.Admission, LimitPerCustomer}
    assert gate.stocks([item.pk]) == {item.pk: 9}
