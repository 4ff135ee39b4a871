"""What an error of PostgreSQL means for who asked: decided by its SQLSTATE, here and nowhere else.

The driver's classes do not tell: a read-only server (25006) and a broken index (XX002) are an ``InternalError`` to psycopg2, a
full disk (53100) an ``OperationalError``. The table in docs/reliability.md is of these classes.
"""

from enum import StrEnum

import psycopg2


class Meaning(StrEnum):
    """``FAULT``: of the statement or of its row, and the same again however often it is sent. The others pass with time."""

    RETRY = "retry"  # the session is as good as before
    DROP = "drop"  # only another session can be better
    FAULT = "fault"


_RETRY = Meaning.RETRY
_DROP = Meaning.DROP
# A code of its own before its class.
_MEANINGS = {
    "08": _DROP,  # connection exception
    "25": _DROP,  # transaction state: the server is read-only (25006), it ended an idle transaction (25P03, 25P04)
    "28": _DROP,  # authorization: a role that may not be used just now
    "40": _RETRY,  # rolled back: serialization failure, deadlock
    "40003": _DROP,  # nobody knows whether it was done
    "53": _RETRY,  # resources: disk full (53100), too many connections (53300)
    "53200": _DROP,  # out of memory; ending the session gives some back
    "55": _RETRY,  # a lock that was not to be had in time
    "57": _DROP,  # shut down, crashed, starting
    "57014": _RETRY,  # canceled: it ran for longer than statement_timeout
    "58": _DROP,  # the operating system: an input or output error
    "XX": _DROP,  # PostgreSQL found itself or its data broken
}


def sqlstate(error: BaseException) -> str:
    """The five characters, of psycopg2's error or of Django's around it; empty where PostgreSQL has not said any."""
    return next((code for each in (error, error.__cause__) if (code := getattr(each, "pgcode", None))), "")


def meaning_of(error: BaseException) -> Meaning:
    """What an error of psycopg2 means.

    One without an SQLSTATE comes from the driver: there is no connection, or nobody understood what came over it.
    """
    code = sqlstate(error)
    if code:
        return _MEANINGS.get(code) or _MEANINGS.get(code[:2], Meaning.FAULT)
    is_connection = isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
    return Meaning.DROP if is_connection or type(error) is psycopg2.DatabaseError else Meaning.FAULT
