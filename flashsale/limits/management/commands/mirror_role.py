from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import Error, connection, transaction

from flashsale.stack.mirror import ROLE


class Command(BaseCommand):
    help = f"Make {ROLE}, the PostgreSQL role of a mirror, which can only read; its password is MIRROR_PASSWORD. May run twice."

    def handle(self, *args: Any, **options: Any) -> None:
        password = settings.MIRROR_PASSWORD
        if not password:
            raise CommandError("MIRROR_PASSWORD is not set")
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE])
                if cursor.fetchone() is None:
                    cursor.execute(f"CREATE ROLE {ROLE} NOSUPERUSER NOCREATEDB NOCREATEROLE")
                cursor.execute(f"ALTER ROLE {ROLE} LOGIN PASSWORD %s", [password])
                cursor.execute(f"ALTER ROLE {ROLE} SET default_transaction_read_only = on")
                cursor.execute(f"GRANT pg_read_all_data TO {ROLE}")
        except Error as error:
            raise CommandError(f"{ROLE} cannot be made: {error}".strip()) from error
