"""The servers that the environment does not name, as one thing to start and stop."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from flashsale.settings.names import EMBEDDED_DATABASE_URL
from flashsale.stack.places import PROJECT, own_folder
from flashsale.stack.servers import PostgreSQL, Valkey

DEVELOPMENT = {"DJANGO_SETTINGS_MODULE": "flashsale.settings.dev"}  # what a stack of our own runs with, unless told otherwise


class Embedded:
    """``with Embedded(folder) as addresses: ...`` - addresses are environment variables."""

    def __init__(self, folder: Path, environment: Mapping[str, str] = os.environ) -> None:
        """
        Args:
            folder: for data and logs.
            environment: a server whose address stands here is not started.
        """
        self.folder = folder
        self._candidates: dict[str, PostgreSQL | Valkey] = {
            "DATABASE_URL": PostgreSQL(folder),
            "REDIS_URL": Valkey(folder, name="gate", fsync="always"),
            "CELERY_BROKER_URL": Valkey(folder, name="broker", fsync="everysec"),
        }
        self.servers = {name: server for name, server in self._candidates.items() if not environment.get(name)}

    @property
    def outside_home(self) -> Path | None:
        """A folder outside ``folder`` that holds data, where there is one."""
        database = self.servers.get("DATABASE_URL")
        return database.outside_home if isinstance(database, PostgreSQL) else None

    @property
    def admin_addresses(self) -> dict[str, str]:
        """The servers' addresses for who may do everything there. Known once they run."""
        return {name: server.admin_url for name, server in self.servers.items()}

    @property
    def test_addresses(self) -> dict[str, str]:
        """For tests and benchmarks, which empty the Redis servers; in the database they are the application."""
        return self.admin_addresses | {name: self.servers[name].url for name in ("DATABASE_URL",) if name in self.servers}

    def __enter__(self) -> dict[str, str]:
        """
        Raises:
            StackError: a server does not start; those that did are stopped.
        """
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        own_folder(self.folder, owners=[PROJECT.stat().st_uid])
        try:
            for server in self.servers.values():
                server.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        addresses = {name: server.url for name, server in self.servers.items()}
        if "DATABASE_URL" in addresses:  # for every process that we start: this database is ours to fill
            os.environ[EMBEDDED_DATABASE_URL] = addresses["DATABASE_URL"]
        return addresses

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for server in reversed(self.servers.values()):
            server.stop()
