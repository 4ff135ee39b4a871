"""The checker is silent about sales in which all went well, and names every way to be wrong."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.chaos.checker import PROMISES, check
from tests.chaos.clean_sale import CleanSale
from tests.chaos.recorded_sale import ENDINGS, RecordedSale
from tests.chaos.rows import Loss, Order, Terms
from tests.chaos.violations import VIOLATIONS


def test_a_clean_sale_passes():
    sale = CleanSale()

    verdict = check(sale.history, sale.books)

    assert (verdict.outcome, verdict.broken) == ("passed", frozenset()), verdict.summary()


def test_a_run_without_an_acknowledged_order_is_unknown():
    sale = RecordedSale().close()
    sale.told("order", 1, sale.body(), None, None)

    verdict = check(sale.history, sale.books)

    assert (verdict.outcome, verdict.unknown) == ("unknown", 1)


def test_a_gate_that_lost_its_disk_does_not_learn_from_what_the_ledger_repeats():
    sale = CleanSale()
    first = sale.asked(sale.cast["paid"])
    sale.books.losses.append(Loss(sale.tick(), frozenset()))
    sale.told("order", 1, first.request, 202, first.answer)
    sale.told("order", 2, first.request | {"token": "another"}, 409, {"code": "limit_per_customer"})
    sale.books.taken_at = sale.tick()

    verdict = check(sale.history, sale.books)

    assert verdict.outcome == "passed", verdict.summary()


def test_orders_under_terms_that_have_changed_since_pass():
    sale = CleanSale()
    old = Terms(sale.item.price, sale.item.currency, sale.item.per_customer)
    sale.books.terms = {(sale.item.id, 1): old, (sale.item.id, 2): Terms(old.price + 1, old.currency, 1)}
    for order in sale.books.orders:
        order.terms = order.limit = 1
    sale.item.price, sale.item.per_customer = old.price + 1, 1

    verdict = check(sale.history, sale.books)

    assert (verdict.outcome, verdict.broken) == ("passed", frozenset()), verdict.summary()


def test_the_summary_names_promise_and_order():
    sale = CleanSale()
    gone = sale.told("order", 30, sale.body(), 202, {"id": "gone"})

    summary = check(sale.history, sale.books).summary()

    assert summary.startswith("failed: ")
    assert "acknowledged_orders_are_kept (1): Whoever was told 202 has an order in the books." in summary
    assert f"order gone of customer {gone.customer}" in summary


@pytest.mark.parametrize(("violation", "promises"), [pytest.param(*pair, id=pair[0].__name__) for pair in VIOLATIONS])
def test_a_violation_is_caught_by_its_check_and_by_no_other(violation, promises):
    sale = CleanSale()

    violation(sale)

    verdict = check(sale.history, sale.books)
    assert (verdict.outcome, verdict.broken) == ("failed", promises), verdict.summary()


def test_every_check_can_fail():
    assert {promise.__name__ for promise in PROMISES} == frozenset().union(*(promises for _, promises in VIOLATIONS))


PURCHASES = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from(ENDINGS), st.integers(1, 2), st.sampled_from([202, None]), st.booleans()),
    max_size=30,
)


@given(purchases=PURCHASES)
@settings(max_examples=150, deadline=None)
def test_no_clean_sale_raises_an_alarm(purchases):
    sale = RecordedSale(units=200)
    for customer, ending, units, status, watched in purchases:
        owned = sum(order.units for order in sale.books.orders if order.customer == customer)
        given_back = sum(order.units for order in sale.books.orders if order.customer == customer and _is_given_back(order))
        if owned - given_back + units <= sale.item.per_customer:
            sale.buy(customer, ending, units, status=status, watched=watched)
    sale.close()

    verdict = check(sale.history, sale.books)

    acknowledged = any(op.result == "ok" for op in sale.history.of("order"))
    assert verdict.outcome == ("passed" if acknowledged else "unknown"), verdict.summary()


def _is_given_back(order: Order) -> bool:
    return order.status in ("cancelled", "rejected")
