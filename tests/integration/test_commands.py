"""A command that is asked for something impossible says so in one sentence and changes nothing."""

import json
import re

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import CommandError

from inventory.models import Sale

pytestmark = pytest.mark.django_db(transaction=True)
SALE = ("create_sale", "drop", "--sku", "thing", "--units", "5", "--price", "9.90")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (("--units", "-1"), "--units"),
        (("--units", "99999999999999"), "--units"),
        (("--payment-window", "0"), "30 days"),
        (("--payment-window", "-5"), "30 days"),
        (("--payment-window", "99999999999"), "30 days"),
        (("--payment-window", "1e30"), "payment-window"),
        (("--payment-window", "nan"), "payment-window"),
        (("--price", "1e30"), "digits"),
        (("--per-customer", "0"), "greater than"),
        (("--price", "5000000000", "--per-customer", "2"), "cost more than"),
    ],
)
def test_a_sale_that_could_not_work_is_not_made(changed, said):
    with pytest.raises(CommandError, match=said):
        call_command(*SALE, *changed)

    assert not Sale.objects.exists()


@pytest.mark.parametrize("prefix", ["a" * 101, "with space", "a\tb"])
def test_customers_whose_names_could_not_be_are_not_made(prefix):
    with pytest.raises(CommandError, match="--prefix"):
        call_command("issue_customer_tokens", "--count", "2", "--prefix", prefix)

    assert not get_user_model().objects.exists()


@pytest.mark.parametrize("option", ["--json", "--plot"])
def test_a_rehearsal_whose_result_has_no_place_does_not_begin(option, tmp_path):
    with pytest.raises(CommandError, match=option):
        call_command("rehearse", option, str(tmp_path / "missing" / "result"))

    assert not Sale.objects.exists()


@pytest.mark.parametrize("option", ["--units", "--buyers", "--seconds", "--rate"])
def test_a_rehearsal_of_nothing_does_not_begin(option):
    with pytest.raises(CommandError, match="positive"):
        call_command("rehearse", option, "0")

    assert not Sale.objects.exists()


def test_in_a_rehearsal_some_buyers_sign_in_before_they_buy(workers, sweeper, live_url, tmp_path):
    result = tmp_path / "result.json"
    options = ("--units", "20", "--buyers", "6", "--seconds", "1", "--sign-in", "3", "--url", live_url, "--json", str(result))

    call_command("rehearse", *options)

    found = json.loads(result.read_text())
    assert (found["verdict"], sum(found["orders"].values())) == ("clean", 6)
    assert (found["sign-ins"]["signed in"], found["sign-ins"]["gave up"], found["shed"]) == (3, 0, {})
    assert re.fullmatch(r"[1-9]\d* / [1-9]\d*", found["sign-ins"]["latency ms p50 / p99"])


@pytest.mark.parametrize("more", ["-1", "7"])
def test_no_more_buyers_sign_in_than_there_are(more):
    with pytest.raises(CommandError, match="--sign-in"):
        call_command("rehearse", "--buyers", "6", "--sign-in", more)

    assert not Sale.objects.exists()
