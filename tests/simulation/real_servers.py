"""Servers, tables and settings for the real tier outside pytest."""

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

from flashsale.stack.embedded import Embedded


@contextmanager
def servers():
    """Fresh servers with a migrated database, Django set up on them."""
    with tempfile.TemporaryDirectory(prefix="flashsale-simulation-") as home:
        Path(home).chmod(0o755)
        servers = Embedded(Path(home), environment={})
        with servers:
            os.environ |= servers.test_addresses | {"DJANGO_SETTINGS_MODULE": "flashsale.settings.test", "FLASHSALE_VAR": home}
            import django

            django.setup()
            from django.core.management import call_command
            from django.db import connection

            call_command("migrate", verbosity=0)
            try:
                yield
            finally:
                connection.close()
