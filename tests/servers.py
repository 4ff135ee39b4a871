"""A pytest plugin that starts servers of our own before Django reads its settings.

With ``pytest -n N`` each of the N processes that run tests has servers of its own, and the one that distributes tests has none.
"""

import os
import tempfile
from pathlib import Path

import psycopg2
import pytest

from flashsale.stack.embedded import Embedded

_home = tempfile.TemporaryDirectory(prefix="flashsale-tests-")
Path(_home.name).chmod(0o755)
STACK = Embedded(Path(_home.name), environment={})

_NOWHERE = {"DATABASE_URL": "postgresql://localhost/none", "REDIS_URL": "redis://", "CELERY_BROKER_URL": "redis://"}
_SHIPPED: dict[str, str] = {}


def shipped_addresses():
    """The addresses of the Redis servers with the users that `make up` gives to its processes."""
    return {name: url for name, url in _SHIPPED.items() if name != "DATABASE_URL"}


def _let_tests_make_databases():
    link = psycopg2.connect(STACK.admin_addresses["DATABASE_URL"])
    link.autocommit = True
    with link.cursor() as cursor:
        cursor.execute("ALTER ROLE flashsale CREATEDB")
        cursor.execute("GRANT SET ON PARAMETER session_replication_role TO flashsale")  # the ledger forbids deletions
    link.close()


def _only_distributes(config):
    """Whether this process hands tests to others, each of which loads this plugin in its turn."""
    return bool(getattr(config.known_args_namespace, "numprocesses", None)) and "PYTEST_XDIST_WORKER" not in os.environ


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config):
    if _only_distributes(early_config):
        os.environ |= _NOWHERE | {"PYTEST_PLUGINS": __name__}  # `-p` comes too late there
        return (yield)
    _SHIPPED.update(STACK.__enter__())
    _let_tests_make_databases()
    # The tests may do everything at the Redis servers; the processes that they start are as confined as those of `make up`.
    os.environ |= STACK.test_addresses
    os.environ["FLASHSALE_VAR"] = _home.name
    os.environ["FLOWER_BASIC_AUTH"] = "operator:test"
    return (yield)


def pytest_unconfigure():
    STACK.__exit__(None, None, None)
    _home.cleanup()
