"""What a PostgreSQL error means for the caller, decided by its SQLSTATE.

The driver's exception classes are not precise enough: a read-only server (25006) and a broken index (XX002) are both an
``InternalError`` in psycopg2, a full disk (53100) is an ``OperationalError``. docs/reliability.md has the table.
"""

from enum import StrEnum

import psycopg2


class Meaning(StrEnum):
    """``FAULT``: the statement or its data is wrong, so that a retry fails too. The others are temporary."""

    RETRY = "retry"  # the session can be used again
    DROP = "drop"  # a new session is needed
    FAULT = "fault"


_RETRY = Meaning.RETRY
_DROP = Meaning.DROP
# A full code takes precedence over its class.
_MEANINGS = {
    "08": _DROP,  # connection exception
    "25": _DROP,  # transaction state: the server is read-only (25006), it ended an idle transaction (25P03, 25P04)
    "28": _DROP,  # authorization: the role cannot be used now
    "40": _RETRY,  # rolled back: serialization failure, deadlock
    "40003": _DROP,  # unknown whether the statement was executed
    "53": _RETRY,  # resources: disk full (53100), too many connections (53300)
    "53200": _DROP,  # out of memory; closing the session frees some
    "55": _RETRY,  # lock not available in time
    "57": _DROP,  # shutdown, crash, start-up
    "57014": _RETRY,  # canceled by statement_timeout
    "58": _DROP,  # operating system: I/O error
    "XX": _DROP,  # internal error or data corruption
}


def sqlstate(error: BaseException) -> str:
    """The SQLSTATE of a psycopg2 error or of Django's wrapper. Empty if PostgreSQL did not send one."""
    return next((code for each in (error, error.__cause__) if (code := getattr(each, "pgcode", None))), "")


def meaning_of(error: BaseException) -> Meaning:
    """Classify a psycopg2 error.

    An error without SQLSTATE comes from the driver: there is no connection, or the answer was invalid.
    """
    code = sqlstate(error)
    if code:
        return _MEANINGS.get(code) or _MEANINGS.get(code[:2], Meaning.FAULT)
    is_connection = isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
    return Meaning.DROP if is_connection or type(error) is psycopg2.DatabaseError else Meaning.FAULT
