"""Roles of an embedded PostgreSQL: a superuser for the launcher, and the application, which owns its database only."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg2
from psycopg2 import extensions

APP, ADMIN = "flashsale", "flashsale_admin"
DATABASE = "flashsale"
_FORMER = "flashsale_former"  # the superuser in data of a release in which the application was superuser
_GIVE_AWAY = """
DO $$
DECLARE one record;
BEGIN
  FOR one IN SELECT oid::regclass AS name, relkind FROM pg_class
             WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
  LOOP EXECUTE format('ALTER TABLE %s OWNER TO flashsale', one.name); END LOOP;
  FOR one IN SELECT oid::regclass AS name FROM pg_class sequence
             WHERE relnamespace = 'public'::regnamespace AND relkind = 'S'
             AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = sequence.oid AND deptype IN ('a', 'i'))
  LOOP EXECUTE format('ALTER SEQUENCE %s OWNER TO flashsale', one.name); END LOOP;
  FOR one IN SELECT oid::regprocedure AS name FROM pg_proc WHERE pronamespace = 'public'::regnamespace
  LOOP EXECUTE format('ALTER FUNCTION %s OWNER TO flashsale', one.name); END LOOP;
END $$
"""


@dataclass(frozen=True, slots=True)
class Roles:
    """The two roles of the server at ``port`` on loopback."""

    port: int
    password: str
    admin_password: str

    def ensure(self) -> None:
        """Create the application's role and database. May run twice.

        Raises:
            psycopg2.OperationalError: the server does not answer.
        """
        try:
            self._make()
        except psycopg2.OperationalError as error:
            if "authentication failed" not in str(error):
                raise
            self._make_superuser()
            self._make()

    def _make(self) -> None:
        with self._connected(ADMIN, self.admin_password, "postgres") as link, link.cursor() as cursor:
            cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = %s", [APP])
            found = cursor.fetchone()
            if found is not None and found[0]:
                cursor.execute(f"ALTER ROLE {APP} NOLOGIN")
                cursor.execute(f"ALTER ROLE {APP} RENAME TO {_FORMER}")
            if found is None or found[0]:
                cursor.execute(f"CREATE ROLE {APP} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD %s", [self.password])
            cursor.execute("SELECT datdba::regrole::text FROM pg_database WHERE datname = %s", [DATABASE])
            owner = cursor.fetchone()
            if owner is None:
                cursor.execute(f"CREATE DATABASE {DATABASE} OWNER {APP}")
        if owner is not None and owner[0] != APP:
            with self._connected(ADMIN, self.admin_password, DATABASE) as link, link.cursor() as cursor:
                cursor.execute(_GIVE_AWAY)
                cursor.execute(f"ALTER DATABASE {DATABASE} OWNER TO {APP}")

    def _make_superuser(self) -> None:
        """Create the superuser in data of a release in which the application was superuser."""
        with self._connected(APP, self.password, "postgres") as link, link.cursor() as cursor:
            cursor.execute(f"CREATE ROLE {ADMIN} LOGIN SUPERUSER PASSWORD %s", [self.admin_password])

    @contextmanager
    def _connected(self, role: str, password: str, database: str) -> Iterator[extensions.connection]:
        link = psycopg2.connect(
            host="127.0.0.1", port=self.port, user=role, password=password, dbname=database, connect_timeout=2
        )
        try:
            link.autocommit = True
            yield link
        finally:
            link.close()
