"""Access to the current time."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now() -> datetime:
    """The current time as an aware datetime in UTC."""
    return datetime.now(UTC)


def to_us(moment: datetime) -> int:
    """Whole microseconds since 1970, the unit of all times in Redis scripts."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def from_us(us: int) -> datetime:
    """The inverse of :func:`to_us`."""
    return EPOCH + timedelta(microseconds=us)
