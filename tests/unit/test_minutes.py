"""A span of time that is typed in minutes."""

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError

from flashsale.backoffice.minutes import MinutesField


@pytest.mark.parametrize(
    ("typed", "span", "shown"),
    [
        ("30", timedelta(minutes=30), 30),
        (" 30 ", timedelta(minutes=30), 30),
        ("0.5", timedelta(seconds=30), "00:00:30"),
        ("0:00:45", timedelta(seconds=45), "00:00:45"),
        ("0:10:00", timedelta(minutes=10), 10),
        ("1440", timedelta(days=1), 1440),
        ("-1", timedelta(minutes=-1), -1),
    ],
)
def test_minutes_and_spans_are_read_and_shown(typed, span, shown):
    field = MinutesField()

    assert field.clean(typed) == span
    assert field.prepare_value(span) == shown
    assert field.clean(str(shown)) == span
    assert not field.has_changed(span, typed)


@pytest.mark.parametrize(
    "typed", ["x", "nan", "inf", "-inf", "1e400", "9" * 400, "1:2:3:4", "::", "\x00", "9:99:99:x", "", None]
)
def test_what_is_no_span_is_refused(typed):
    field = MinutesField()

    with pytest.raises(ValidationError):
        field.clean(typed)
    assert field.has_changed(timedelta(minutes=1), typed)
