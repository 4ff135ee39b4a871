"""The express lane's validation agrees with the serializer that it is made from."""

from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework.exceptions import ValidationError

from flashsale.web.express.quick import Quick
from orders.serializers import OrderRequestSerializer

_GOOD = {"token": "1.a", "sku": "x", "quantity": 1, "source": "a", "seq": "1", "payment_method": "pm_ok", "unit_price": "9.90"}
_odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 1_000_001),
    st.floats(),
    st.lists(st.just(1), max_size=1),
    st.sampled_from(["", " ", "1", "1.0", "9" * 12 + ".0001", "9" * 13, "a\n", "é", "\x00", "x" * 65, "pm_none", "1٣", "a b"]),
    st.text(max_size=6),
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*_GOOD, "more"]), _odd, max_size=3), st.sets(st.sampled_from(list(_GOOD)), max_size=2))
def test_a_body_is_valid_for_both_or_left_to_the_serializer(changes, missing):
    body = {name: value for name, value in (_GOOD | changes).items() if name not in missing}
    try:
        expected = dict(OrderRequestSerializer().run_validation(body))
    except ValidationError:
        expected = None

    found = Quick(OrderRequestSerializer())(body)

    assert found == expected


def test_what_is_no_object_is_left_to_the_serializer():
    quick = Quick(OrderRequestSerializer())
    assert [quick(each) for each in (None, [], "a", 1, {})] == [None] * 5
