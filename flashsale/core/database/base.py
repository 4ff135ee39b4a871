"""The database backend. Used as ``ENGINE``."""

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
    """Raises ``OperationalError`` for all temporary errors and for nothing else, and closes a session that cannot recover.

    For example, a value over one of PostgreSQL's limits (class 54) is not temporary. The session is closed at once. Otherwise
    code that handles the error would keep it for ``CONN_MAX_AGE``, and a session of a read-only server would be used after
    failover.
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
    """PostgreSQL through psycopg2. Raises ``OperationalError`` if a statement or connection gets no answer in time.

    Other temporary errors raise it too, and only those; see :mod:`flashsale.core.database.sqlstate`.
    """

    @cached_property
    def wrap_database_errors(self) -> DatabaseErrorWrapper:
        return _Errors(self)

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """
        Raises:
            psycopg2.OperationalError: no connection; raised at once if another thread has just timed out.
        """
        if not silence.may_ask():
            raise NoAnswer("PostgreSQL did not answer a moment ago")
        try:
            with patience(settings.DATABASE_CONNECT_S):
                connection = super().get_new_connection(conn_params)
        except NoAnswer:
            raise
        except psycopg2.Error:
            silence.succeeded()  # an error is an answer too
            raise
        silence.succeeded()
        return connection

    def drop(self) -> None:
        """Close the session. The next statement after the current transaction opens a new one. May run twice."""
        with suppress(psycopg2.Error):
            self.close()

    def is_usable(self) -> bool:
        """Whether there is a session that answers."""
        return self.connection is not None and super().is_usable()

    def is_writable(self) -> bool:
        """Whether this session can write. One round trip.

        Raises:
            django.db.Error: the query failed.
        """
        with self.cursor() as cursor:
            cursor.execute("SHOW transaction_read_only")
            return bool(cursor.fetchone() == ("off",))
