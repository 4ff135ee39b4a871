"""The checker is silent about sales in which all went well."""

from tests.chaos.checker import check
from tests.chaos.story import ENDINGS, Story


def test_a_clean_sale_passes():
    story = Story()
    for customer, ending in enumerate(ENDINGS, 1):
        story.buy(customer, ending)

    story.close()

    verdict = check(story.history, story.books)
    assert (verdict.outcome, verdict.broken) == ("passed", frozenset()), verdict.summary()


def test_a_run_without_an_acknowledged_order_is_unknown():
    story = Story().close()

    assert check(story.history, story.books).outcome == "unknown"
