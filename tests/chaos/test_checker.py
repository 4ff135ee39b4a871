"""The checker is silent about sales in which all went well, and names every way to be wrong."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.chaos.checker import PROMISES, check
from tests.chaos.rows import Loss, Order, Terms
from tests.chaos.story import ENDINGS, Story
from tests.chaos.tale import Tale
from tests.chaos.wrongs import WRONGS


def test_a_clean_sale_passes():
    tale = Tale()

    verdict = check(tale.history, tale.books)

    assert (verdict.outcome, verdict.broken) == ("passed", frozenset()), verdict.summary()


def test_a_run_without_an_acknowledged_order_is_unknown():
    story = Story().close()
    story.told("order", 1, story.body(), None, None)

    verdict = check(story.history, story.books)

    assert (verdict.outcome, verdict.unknown) == ("unknown", 1)


def test_a_gate_that_lost_its_disk_does_not_learn_from_what_the_ledger_repeats():
    tale = Tale()
    first = tale.asked(tale.cast["paid"])
    tale.books.losses.append(Loss(tale.tick(), frozenset()))
    tale.told("order", 1, first.request, 202, first.answer)
    tale.told("order", 2, first.request | {"token": "another"}, 409, {"code": "limit_per_customer"})
    tale.books.taken_at = tale.tick()

    verdict = check(tale.history, tale.books)

    assert verdict.outcome == "passed", verdict.summary()


def test_orders_under_terms_that_have_changed_since_pass():
    tale = Tale()
    old = Terms(tale.item.price, tale.item.currency, tale.item.per_customer)
    tale.books.terms = {(tale.item.id, 1): old, (tale.item.id, 2): Terms(old.price + 1, old.currency, 1)}
    for order in tale.books.orders:
        order.terms = order.limit = 1
    tale.item.price, tale.item.per_customer = old.price + 1, 1

    verdict = check(tale.history, tale.books)

    assert (verdict.outcome, verdict.broken) == ("passed", frozenset()), verdict.summary()


def test_the_summary_names_promise_and_order():
    tale = Tale()
    gone = tale.told("order", 30, tale.body(), 202, {"id": "gone"})

    summary = check(tale.history, tale.books).summary()

    assert summary.startswith("failed: ")
    assert "acknowledged_orders_are_kept (1): Whoever was told 202 has an order in the books." in summary
    assert f"order gone of customer {gone.customer}" in summary


@pytest.mark.parametrize(("wrong", "promises"), [pytest.param(*pair, id=pair[0].__name__) for pair in WRONGS])
def test_a_wrong_is_caught_by_its_check_and_by_no_other(wrong, promises):
    tale = Tale()

    wrong(tale)

    verdict = check(tale.history, tale.books)
    assert (verdict.outcome, verdict.broken) == ("failed", promises), verdict.summary()


def test_every_check_can_fail():
    assert {promise.__name__ for promise in PROMISES} == frozenset().union(*(promises for _, promises in WRONGS))


PURCHASES = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from(ENDINGS), st.integers(1, 2), st.sampled_from([202, None]), st.booleans()),
    max_size=30,
)


@given(purchases=PURCHASES)
@settings(max_examples=150, deadline=None)
def test_no_clean_sale_raises_an_alarm(purchases):
    story = Story(units=200)
    for customer, ending, units, status, watched in purchases:
        owned = sum(order.units for order in story.books.orders if order.customer == customer)
        given_back = sum(order.units for order in story.books.orders if order.customer == customer and _is_given_back(order))
        if owned - given_back + units <= story.item.per_customer:
            story.buy(customer, ending, units, status=status, watched=watched)
    story.close()

    verdict = check(story.history, story.books)

    acknowledged = any(op.result == "ok" for op in story.history.of("order"))
    assert verdict.outcome == ("passed" if acknowledged else "unknown"), verdict.summary()


def _is_given_back(order: Order) -> bool:
    return order.status in ("cancelled", "rejected")
