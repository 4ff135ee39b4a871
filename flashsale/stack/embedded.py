"""Start and stop the servers that the environment does not provide."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from flashsale.settings.names import EMBEDDED_DATABASE_URL
from flashsale.stack.places import PROJECT, own_folder
from flashsale.stack.servers import PostgreSQL, Valkey

DEVELOPMENT = {"DJANGO_SETTINGS_MODULE": "flashsale.settings.dev"}  # defaults of an embedded stack


class Embedded:
    """``with Embedded(folder) as addresses: ...``. The addresses are environment variables."""

    def __init__(self, folder: Path, environment: Mapping[str, str] = os.environ) -> None:
        """
        Args:
            folder: folder for data and logs.
            environment: a server whose address is set here is not started.
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
        """The data folder outside ``folder``, if there is one."""
        database = self.servers.get("DATABASE_URL")
        return database.outside_home if isinstance(database, PostgreSQL) else None

    @property
    def admin_addresses(self) -> dict[str, str]:
        """The servers' addresses for the administrator. Known once they run."""
        return {name: server.admin_url for name, server in self.servers.items()}

    @property
    def test_addresses(self) -> dict[str, str]:
        """Addresses for tests and benchmarks: administrator of the Redis servers, application in the database."""
        return self.admin_addresses | {name: self.servers[name].url for name in ("DATABASE_URL",) if name in self.servers}

    def __enter__(self) -> dict[str, str]:
        """
        Raises:
            StackError: a server did not start. The others are stopped.
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
        if "DATABASE_URL" in addresses:  # tells every process that the database is embedded and may get demo data
            os.environ[EMBEDDED_DATABASE_URL] = addresses["DATABASE_URL"]
        return addresses

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for server in reversed(self.servers.values()):
            server.stop()
