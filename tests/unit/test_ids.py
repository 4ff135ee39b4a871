"""Identifiers carry their item."""

import uuid
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashsale.core import clock, ids


@given(st.integers(1, ids.MAX_ITEM))
def test_an_order_id_is_a_uuid7_that_names_its_item(item):
    made = ids.new_order_id(item)

    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert ids.item_of_order(made) == item


@given(st.integers(1, 999_999_999))
def test_a_purchase_token_names_its_item(item):
    assert ids.item_of_token(ids.new_purchase_token(item)) == item


@given(st.text(max_size=60))
@pytest.mark.slow
def test_no_text_breaks_the_token_reader(text):
    assert ids.item_of_token(text) is None


@pytest.mark.parametrize("item", [0, -1, ids.MAX_ITEM + 1])
def test_an_item_that_does_not_fit_is_refused(item):
    with pytest.raises(ValueError, match="does not fit"):
        ids.new_order_id(item)


def test_ids_sort_by_their_creation():
    made = [ids.new_uuid() for _ in range(3)]

    assert [each.int >> 80 for each in made] == sorted(each.int >> 80 for each in made)


@given(st.integers(1, ids.MAX_ITEM), st.integers(1, 2**63 - 1))
def test_a_sealed_id_is_recognised_for_its_customer_and_names_its_item(item, customer):
    made = ids.sealed(ids.new_order_id(item), customer, b"key")

    assert (made.version, made.variant, ids.item_of_order(made)) == (7, uuid.RFC_4122, item)
    assert ids.is_sealed(made, customer, [b"new key", b"key"])
    assert not ids.is_sealed(made, customer + 1, [b"key"])
    assert not ids.is_sealed(made, customer, [b"another key"])


@given(st.integers(0, 127))
def test_a_sealed_id_with_one_bit_changed_is_not_recognised(bit):
    made = ids.sealed(ids.new_order_id(7), 1, b"key")

    assert not ids.is_sealed(uuid.UUID(int=made.int ^ (1 << bit)), 1, [b"key"])


def test_an_id_says_when_it_was_made():
    before = clock.now()

    made = ids.sealed(ids.new_order_id(7), 1, b"key")

    assert timedelta(milliseconds=-1) <= ids.made_at(made) - before < timedelta(seconds=5)
