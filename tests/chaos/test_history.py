"""Only an answer that says so is a refusal; whatever leaves the outcome open is unknown."""

import pytest

from tests.chaos.history import result_of

ANSWERS = {
    "accepted": (202, {"id": "1"}, "ok"),
    "sold out": (409, {"code": "sold_out"}, "refused"),
    "refused by the gateway's limits, before any web process": (429, {"code": "rate_limited"}, "refused"),
    "refused by the shop because of its backlog": (503, {"code": "busy"}, "refused"),
    "the gateway found no web process, or lost the one that had the request": (503, {"code": "unavailable"}, "unknown"),
    "a gateway that timed out, in words of its own": (504, None, "unknown"),
    "a gateway that got nonsense": (502, None, "unknown"),
    "an error of the shop": (500, {"code": "error"}, "unknown"),
    "no answer": (None, None, "unknown"),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_an_answer_is_what_it_says(case):
    status, answer, result = ANSWERS[case]

    assert result_of(status, answer) == result
