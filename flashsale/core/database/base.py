"""The database backend: ``ENGINE`` names this folder."""

from typing import Any

import psycopg2
from django.conf import settings
from django.db.backends.postgresql import base
from psycopg2.extensions import set_wait_callback

from flashsale.core.database import dates
from flashsale.core.database.patience import NoAnswer, patience, silence, wait

set_wait_callback(wait)
dates.register()


class DatabaseWrapper(base.DatabaseWrapper):
    """PostgreSQL through psycopg2; a statement or connection that gets no answer in time is an ``OperationalError``."""

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
