"""Read times outside Python's range as the nearest time that Python can represent.

Otherwise one row with a time after the year 9999 or before the year 1 would make every query fail that reads it.
"""

import logging
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from psycopg2.extensions import PYDATETIMETZ, PYINTERVAL, new_type, register_type

logger = logging.getLogger(__name__)
_TIMESTAMPTZ, _INTERVAL = 1184, 1186  # PostgreSQL's type OIDs
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def _moment(value: str | None, cursor: Any) -> Any:
    try:
        found = PYDATETIMETZ(value, cursor)
    except (ValueError, OverflowError):
        return _nearest(str(value))
    return _nearest(str(value)) if value and value.endswith("infinity") else found


@lru_cache(maxsize=100)  # log once per value
def _nearest(value: str) -> datetime:
    logger.error("time out of range", extra={"event": "time_out_of_reach", "value": value[:60]})
    return _FIRST if value.startswith("-") or value.endswith("BC") else _LAST


def _span(value: str | None, cursor: Any) -> Any:
    try:
        return PYINTERVAL(value, cursor)
    except (ValueError, OverflowError):
        return _nearest_span(str(value))


@lru_cache(maxsize=100)
def _nearest_span(value: str) -> timedelta:
    logger.error("interval out of range", extra={"event": "time_out_of_reach", "value": value[:60]})
    return timedelta.min if value.startswith("-") else timedelta.max


def register() -> None:
    """Register the type casters for all connections of the process."""
    register_type(new_type((_INTERVAL,), "INTERVAL", _span))
    register_type(new_type((_TIMESTAMPTZ,), "TIMESTAMPTZ", _moment))
