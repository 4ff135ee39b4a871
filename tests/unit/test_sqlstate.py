"""What an error of PostgreSQL means is decided by its SQLSTATE."""

import psycopg2
import pytest
from django.db import InternalError, OperationalError
from psycopg2 import errorcodes, errors
from psycopg2._psycopg import sqlstate_errors

from flashsale.core.database.sqlstate import Meaning, meaning_of, sqlstate

RETRY, DROP, FAULT = Meaning.RETRY, Meaning.DROP, Meaning.FAULT


def error_of(code):
    """Psycopg2's error, with the code on it as the server would have said it."""

    return type("Said", (errors.lookup(code),), {"pgcode": code})(code)


def codes_of(*classes):
    named = {code for code in vars(errorcodes).values() if isinstance(code, str) and len(code) == 5 and code[:2] in classes}
    return sorted(named & sqlstate_errors.keys())


@pytest.mark.parametrize("code", codes_of("08", "25", "40", "53", "57", "58", "XX"))
def test_an_error_of_the_server_or_of_the_way_to_it_passes_with_time(code):
    assert meaning_of(error_of(code)) in (RETRY, DROP)


@pytest.mark.parametrize("code", codes_of("22", "23", "42", "P0"))
def test_an_error_of_the_statement_or_its_row_is_a_fault(code):
    assert meaning_of(error_of(code)) is FAULT


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        ("25006", DROP),  # read-only: another session may be at another server
        ("25P03", DROP),  # the session is gone
        ("40001", RETRY),
        ("40P01", RETRY),
        ("40003", DROP),
        ("53100", RETRY),
        ("53200", DROP),
        ("53300", RETRY),
        ("55P03", RETRY),
        ("57014", RETRY),  # the statement took too long, the session is as it was
        ("57P01", DROP),
        ("57P03", DROP),
        ("58030", DROP),
        ("XX001", DROP),
    ],
)
def test_a_session_is_dropped_where_only_another_can_be_better(code, meaning):
    assert meaning_of(error_of(code)) is meaning


@pytest.mark.parametrize("kind", [psycopg2.OperationalError, psycopg2.InterfaceError, psycopg2.DatabaseError])
def test_an_error_that_postgresql_did_not_say_is_of_the_connection(kind):
    assert meaning_of(kind("server closed the connection unexpectedly")) is DROP


@pytest.mark.parametrize("kind", [psycopg2.ProgrammingError, psycopg2.DataError, psycopg2.IntegrityError])
def test_a_value_that_the_driver_cannot_send_is_a_fault(kind):
    assert meaning_of(kind("can't adapt type")) is FAULT


def test_the_code_is_found_on_djangos_error_too():
    around = InternalError("around it")
    around.__cause__ = error_of("25006")

    assert (sqlstate(around), meaning_of(around)) == ("25006", DROP)
    assert sqlstate(OperationalError("nobody said anything")) == ""
