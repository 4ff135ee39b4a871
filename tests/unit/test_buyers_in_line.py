"""A simulated buyer in a waiting room reads the numbers and asks with the ticket when it is time."""

import contextlib
import json

from flashsale.loadtest.buyers import Buyers, Plan
from flashsale.loadtest.http import Answer

PLACE = {"ticket": "7.T", "number": 40, "retry_after": 5}
NUMBERS = {"now_serving": 1, "check_in": 20, "check_in_every": 15, "retry_after": 5}


def answered(status, **values):
    return Answer(status, b"HTTP/1.1", json.dumps(values).encode(), 0.01)


def visit():
    buyers = Buyers(Plan("http://shop", "drop", "thing", 1.0, 0.0))
    script = buyers.buyer(0, "jwt")
    assert next(script).kind == "token"
    return buyers, script


def test_a_buyer_far_back_asks_nothing_but_the_numbers_until_the_turn_comes():
    buyers, script = visit()
    request = script.send(answered(202, **PLACE))
    for _ in range(50):
        assert (request.kind, b"/sales/drop/items/thing/waiting-room/" in request.data) == ("line", True)
        request = script.send(answered(200, **NUMBERS))

    request = script.send(answered(200, **NUMBERS | {"now_serving": 40}))
    assert (request.kind, b"GET /api/v1/waiting-room/7.T/" in request.data) == ("ticket", True)
    assert script.send(answered(200, token="7.K", expires_at="")).kind == "order"
    with contextlib.suppress(StopIteration):
        script.send(answered(202, id="o"))
    assert (buyers.tally.orders, buyers.done) == (["o"], 1)


def test_a_buyer_in_line_hears_that_all_is_sold():
    buyers, script = visit()
    script.send(answered(202, **PLACE))
    with contextlib.suppress(StopIteration):
        script.send(answered(409, code="sold_out"))
    assert sum(buyers.tally.shed["sold_out"].values()) == 1
