"""What PostgreSQL says reaches the product as what it means, and a session that is no good is closed at once."""

import select

import pytest
from django.db import DataError, IntegrityError, InternalError, OperationalError, connection, transaction

pytestmark = pytest.mark.django_db(transaction=True)


def execute(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)


def raised(code):
    execute(f"DO $$ BEGIN RAISE EXCEPTION 'said' USING ERRCODE = '{code}'; END $$")


@pytest.mark.parametrize("code", ["25006", "25P03", "28000", "40003", "53200", "57P01", "58030", "XX001"])
def test_a_session_that_only_another_can_be_better_than_is_closed(code):
    with pytest.raises(OperationalError, match="said"):
        raised(code)

    assert connection.connection is None
    execute("SELECT 1")


@pytest.mark.parametrize("code", ["40001", "40P01", "53100", "53300", "55P03", "57014"])
def test_what_passes_with_time_leaves_the_session_open(code):
    execute("SELECT 1")
    session = connection.connection

    with pytest.raises(OperationalError, match="said"):
        raised(code)

    assert connection.connection is session


@pytest.mark.parametrize(("code", "kind"), [("23514", IntegrityError), ("22003", DataError), ("P0001", InternalError)])
def test_a_fault_stays_what_it_is(code, kind):
    execute("SELECT 1")
    with pytest.raises(kind, match="said"):
        raised(code)
    assert connection.connection is not None


def test_a_value_over_a_limit_of_postgresql_is_not_tried_again():
    execute("CREATE TEMP TABLE long (name text UNIQUE)")

    with pytest.raises(DataError, match="index row"):
        execute("INSERT INTO long SELECT string_agg(md5(n::text), '') FROM generate_series(1, 500) n")


def test_a_transaction_that_loses_its_session_is_over_and_the_next_one_works():
    with pytest.raises(OperationalError), transaction.atomic():
        raised("25006")

    with transaction.atomic():
        execute("SELECT 1")


def test_a_session_that_the_server_ended_in_its_transaction_is_no_fault():
    def stand_still():
        with transaction.atomic():
            execute("SET idle_in_transaction_session_timeout = '10ms'")
            # What a process finds that was stopped for a while: the server has hung up.
            assert select.select([connection.connection.fileno()], [], [], 5)[0]
            execute("SELECT 1")

    with pytest.raises(OperationalError):
        stand_still()

    assert connection.connection is None
    execute("SELECT 1")
