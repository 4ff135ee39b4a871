"""The stack under test: the Procfile's own commands, each kept running as in the stack, over servers behind bad networks."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import psutil
from honcho.environ import parse_procfile

from flashsale.settings.env import BASE_DIR
from flashsale.stack.embedded import Embedded
from flashsale.stack.servers import PostgreSQL, Server, Valkey, free_port, with_parent
from tests.chaos.disk import SmallDisk
from tests.chaos.network import Network
from tests.chaos.plan import BROKER, GATE, POSTGRESQL, PROCESSES, SERVERS

_ADDRESSES = {"DATABASE_URL": POSTGRESQL, "REDIS_URL": GATE, "CELERY_BROKER_URL": BROKER}
_READY_S = 90.0
_STOP_S = 20.0
# Where a process of the Procfile runs twice, its name and its number differ.
_COPIES = {"web": ("web-1", "web-2"), "settle": ("settle-1", "settle-2")}
_RENAMED = {"-n settle@": "-n {name}@", "--workers 2": "--workers 1"}
_LEFT_OUT = ("flower", "canary")
# Processes of a newer release beside those of the Procfile, as in a rolling deploy.
_NEWER = {
    "newer-worker": "celery -A flashsale worker -n newer@%h -Q dispatch,inventory,orders,payments,cancellations -c 1 "
    "--without-gossip --without-mingle -l WARNING -I tests.crash.newer_release",
    "newer-sweeper": "python -m tests.crash.newer_release sweep",
}


class Kept:
    """A process that is started again when it dies, by the stack's own keeper."""

    def __init__(self, name: str, line: str, environment: dict[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        path = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
        with log.open("ab") as output:
            self._keeper = subprocess.Popen(
                [sys.executable, "-m", "flashsale.stack", "keep", "--", "sh", "-c", f"exec {line}"],
                cwd=BASE_DIR,
                env=environment | {"PATH": path},
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=with_parent(os.getpid(), signal.SIGTERM),
            )

    def main(self) -> psutil.Process | None:
        """The process itself; None between its death and its next start."""
        found = psutil.Process(self._keeper.pid).children()
        return found[0] if found else None

    def family(self) -> list[psutil.Process]:
        """The process and all it has forked."""
        main = self.main()
        return [main, *children_of(main)] if main else []

    def ask_to_stop(self) -> None:
        """SIGTERM to the keeper, which passes it on."""
        self._keeper.terminate()

    def wait(self) -> None:
        """Until it is over, by force after a while."""
        try:
            self._keeper.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            for process in self.family():
                process.kill()
            self._keeper.kill()
            self._keeper.wait()


def children_of(process: psutil.Process) -> list[psutil.Process]:
    """What it has forked, without Python's own trackers of resources."""
    try:
        return [child for child in process.children(recursive=True) if "resource_tracker" not in " ".join(child.cmdline())]
    except psutil.NoSuchProcess:
        return []


class Cluster:
    """``with Cluster(folder) as cluster``: runs and answers from here on.

    ``addresses``: the servers themselves, for whoever checks; the processes know the proxies only.
    """

    def __init__(
        self, folder: Path, *, disk_mb: int = 96, settings: dict[str, str] | None = None, has_newer: bool = False
    ) -> None:
        """
        Args:
            folder: for data and logs; new.
            disk_mb: room for the data of each Valkey.
            has_newer: processes of a newer release run beside the others.
            settings: environment variables for the processes.
        """
        folder.chmod(0o755)
        self.folder = folder
        self.logs = folder / "logs"
        self.logs.mkdir()
        self.network = Network()
        self._settings = settings or {}
        self._has_newer = has_newer
        self.disks = {name: SmallDisk(folder / "servers" / name, disk_mb) for name in (GATE, BROKER)}
        self._embedded = Embedded(folder / "servers", {})
        self.servers: dict[str, PostgreSQL | Valkey] = {
            name: self._embedded.servers[variable] for variable, name in _ADDRESSES.items()
        }
        self.processes: dict[str, Kept] = {}
        self._web_ports = {name: str(free_port()) for name in _COPIES["web"]}
        self.gateway_url = f"http://127.0.0.1:{free_port()}"

    def __enter__(self) -> "Cluster":
        try:
            self.addresses = self._embedded.__enter__()
            self.environment = self._environment()
            self._manage("migrate", "--no-input", "-v", "0")
            self._manage("gateway_config")
            self._start_processes()
            self.await_ready()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for kept in self.processes.values():
            kept.ask_to_stop()
        for kept in self.processes.values():
            kept.wait()
        self.network.stop()
        self._embedded.__exit__(None, None, None)
        self._keep_server_logs()
        for disk in self.disks.values():
            disk.unmount()
        for folder in (self.folder / "servers", self._embedded.outside_home):
            if folder:
                shutil.rmtree(folder, ignore_errors=True)

    def _manage(self, *arguments: str) -> None:
        environment = self.environment | self.addresses
        subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=BASE_DIR, env=environment, check=True, stdout=subprocess.DEVNULL
        )

    def _keep_server_logs(self) -> None:
        for log in (self.folder / "servers").glob("*.log"):
            shutil.copy(log, self.logs)

    def _environment(self) -> dict[str, str]:
        metrics = self.folder / "metrics"
        metrics.mkdir()
        proxied = {variable: self.network.link(_ADDRESSES[variable], url) for variable, url in self.addresses.items()}
        return (
            os.environ
            | proxied
            | {
                "DJANGO_SETTINGS_MODULE": "flashsale.settings.dev",
                "FLASHSALE_VAR": str(self.folder),
                "PROMETHEUS_MULTIPROC_DIR": str(metrics),
                "PYTHONUNBUFFERED": "1",
            }
            | self._gateway_settings()
            | self._settings
        )

    def _gateway_settings(self) -> dict[str, str]:
        """The gateway stands before both web processes, and they believe nobody else about addresses."""
        ratelimit_port, signin_port, staff_port = (str(free_port()) for _ in range(3))
        return {
            "GATEWAY_DIR": str(self.folder / "gateway"),
            "GATEWAY_LISTEN": self.gateway_url.removeprefix("http://"),
            "GATEWAY_ADMIN": str(self.folder / "gateway" / "admin.sock"),
            "GATEWAY_OPERATOR_LISTEN": f"127.0.0.1:{free_port()}",
            "GATEWAY_EDGE": f"127.0.0.1:{free_port()}",
            "GATEWAY_SIGNIN": f"127.0.0.1:{signin_port}",
            "GATEWAY_STAFF": f"127.0.0.1:{staff_port}",
            "SIGNIN_PORT": signin_port,
            "STAFF_PORT": staff_port,
            "GATEWAY_WEB": ",".join(f"127.0.0.1:{port}" for port in self._web_ports.values()),
            "GATEWAY_RATELIMIT": f"127.0.0.1:{ratelimit_port}",
            "GATEWAY_CANARY": f"127.0.0.1:{free_port()}",  # nobody listens there, and no route leads there
            "RATELIMIT_PORT": ratelimit_port,
            "TRUSTED_PROXIES": "127.0.0.1/32",
        }

    def _start_processes(self) -> None:
        lines = parse_procfile((BASE_DIR / "Procfile").read_text(encoding="utf-8")).processes
        for kind, line in lines.items():
            if kind in _LEFT_OUT:
                continue
            for name in _COPIES.get(kind, (kind,)):
                text = line
                for old, new in _RENAMED.items():
                    text = text.replace(old, new.format(name=name))
                environment = self.environment | {"APP_PORT": self._web_ports.get(name, "")}
                self.processes[name] = Kept(name, text, environment, self.logs / f"{name}.log")
        for name, line in _NEWER.items() if self._has_newer else ():
            self.processes[name] = Kept(name, line, self.environment, self.logs / f"{name}.log")

    @property
    def missing(self) -> list[str]:
        """Targets and kinds of faults that this stack or this machine does not have."""
        targets = [name for name in PROCESSES if name.partition("/")[0] not in self.processes]
        return targets + ([] if all(disk.is_mounted for disk in self.disks.values()) else ["fill"])

    def is_ready(self) -> bool:
        """Whether each web process says that everything answers, and the gateway and the service that it asks answer too."""
        webs = [f"http://127.0.0.1:{port}/health/ready" for port in self._web_ports.values()]
        return all(_answers(url) for url in [*webs, f"{self.gateway_url}/health/live"]) and self._service_listens()

    def _service_listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", int(self.environment["RATELIMIT_PORT"]))) == 0

    def await_ready(self) -> None:
        """
        Raises:
            TimeoutError: not everything answers in time.
        """
        deadline = time.monotonic() + _READY_S
        while not self.is_ready():
            if time.monotonic() > deadline:
                raise TimeoutError(f"the stack did not become ready; see {self.logs}")
            time.sleep(0.2)

    def find(self, target: str, pick: int) -> psutil.Process | None:
        """The process that a plan's target names now; None while it is down."""
        name, _, child = target.partition("/")
        main = self._main(name)
        if main is None or not child:
            return main
        found = sorted(children_of(main), key=lambda process: process.pid)
        return found[pick % len(found)] if found else None

    def _main(self, name: str) -> psutil.Process | None:
        if name not in SERVERS:
            return self.processes[name].main()
        server: Server = self.servers[name]
        return psutil.Process(server.process.pid) if server.process and server.process.poll() is None else None

    def everybody(self) -> Iterator[tuple[str, psutil.Process]]:
        """Every process of the stack with its name, the servers' included."""
        for name, kept in self.processes.items():
            for process in kept.family():
                yield name, process
        for name in SERVERS:
            main = self._main(name)
            if main:
                yield name, main
                for child in children_of(main):
                    yield name, child


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
