"""The database backend: ``ENGINE`` names this folder."""

from contextlib import suppress
from types import TracebackType
from typing import Any

import psycopg2
from django.conf import settings
from django.db.backends.postgresql import base
from django.db.utils import DatabaseErrorWrapper, DataError, OperationalError
from django.utils.functional import cached_property
from psycopg2.extensions import set_wait_callback

from flashsale.core.database import dates
from flashsale.core.database.patience import NoAnswer, patience, silence, wait
from flashsale.core.database.sqlstate import Meaning, meaning_of

set_wait_callback(wait)
dates.register()


class _Errors(DatabaseErrorWrapper):
    """Makes an ``OperationalError`` of everything that passes with time and of nothing else, such as a value over a limit of
    PostgreSQL's (54), and drops the session where only another can help.

    At once: kept until the end of the request or task, it would be kept for ``CONN_MAX_AGE`` by who takes the error for
    an answer, and whoever was connected to a read-only server would stay so long after it.
    """

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, psycopg2.Error):
            meaning = meaning_of(error)
            if meaning is Meaning.DROP:
                self.wrapper.drop()  # type: ignore[attr-defined]
            is_operational = isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
            if (meaning is Meaning.FAULT) == is_operational:
                fitting = DataError if is_operational else OperationalError
                raise fitting(*error.args).with_traceback(trace) from error
        super().__exit__(kind, error, trace)


class DatabaseWrapper(base.DatabaseWrapper):
    """PostgreSQL through psycopg2; a statement or connection that gets no answer in time is an ``OperationalError``.

    So is everything else that passes with time, and nothing that does not; see :mod:`flashsale.core.database.sqlstate`.
    """

    @cached_property
    def wrap_database_errors(self) -> DatabaseErrorWrapper:
        return _Errors(self)

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """
        Raises:
            psycopg2.OperationalError: not connected; at once where somebody else has just waited in vain.
        """
        if not silence.may_ask():
            raise NoAnswer("PostgreSQL has not answered just now")
        try:
            with patience(settings.DATABASE_CONNECT_S):
                connection = super().get_new_connection(conn_params)
        except NoAnswer:
            raise
        except psycopg2.Error:
            silence.succeeded()  # a refusal is an answer
            raise
        silence.succeeded()
        return connection

    def drop(self) -> None:
        """Close the session; the next statement outside of the present transaction opens another. May run twice."""
        with suppress(psycopg2.Error):
            self.close()

    def is_usable(self) -> bool:
        """Whether there is a session and it answers."""
        return self.connection is not None and super().is_usable()

    def is_writable(self) -> bool:
        """Whether this session may write now; one trip.

        Raises:
            django.db.Error: it cannot be asked.
        """
        with self.cursor() as cursor:
            cursor.execute("SHOW transaction_read_only")
            return bool(cursor.fetchone() == ("off",))
