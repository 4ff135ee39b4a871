"""`make up`: start servers, migrate, create demo data, then run every process of the Procfile as one group."""

import fcntl
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import honcho.manager
from honcho.environ import parse_procfile

from flashsale.settings.env import BASE_DIR, STACK_ENV_FILE, VAR_DIR, is_embedded
from flashsale.settings.names import EMBEDDED_DATABASE_URL
from flashsale.stack.embedded import DEVELOPMENT, Embedded
from flashsale.stack.errors import StackError
from flashsale.stack.keep import LAUNCHER_PID
from flashsale.stack.places import own_folder, write_secret
from flashsale.stack.revive import Reviver
from flashsale.stack.servers import free_port

_READY_S = 90.0
_LONGEST_SOCKET_PATH = 100
_PREPARE = (
    ["check_gate"],
    ["migrate", "--no-input", "-v", "0"],
    ["collectstatic", "--no-input", "-v", "0"],
    ["gateway_config"],
)
_NAMED = ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", EMBEDDED_DATABASE_URL)
_PORTS = {"WEB_PORT": "8000", "OPERATOR_PORT": "8090", "FLOWER_PORT": "5555", "RATELIMIT_PORT": "8081"}
_INNER_PORTS = (
    "APP_PORT",
    "SIGNIN_PORT",
    "STAFF_PORT",
    "CANARY_PORT",
    "EDGE_PORT",
)  # internal ports: any free one will do


def up(command: Sequence[str] = ()) -> int:
    """Run the stack until it is told to stop, or until ``command`` ends.

    Raises:
        StackError: the stack cannot start.
    """
    embedded = Embedded(VAR_DIR)
    with _only_one(), embedded as addresses:
        environment = _environment(addresses)
        _say("servers are running; preparing the database")
        for arguments in _PREPARE:
            _manage(arguments, environment)
        _seed(environment)
        with Reviver(embedded.servers.values(), _say, _end) as reviver:
            code = _run_processes(environment, command)
        if reviver.failure:
            raise StackError(reviver.failure)
        return code


def _end() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _has_demo_data(environment: dict[str, str]) -> bool:
    return is_embedded(environment) or environment.get("ALLOW_DEMO_DATA") == "1"


def _seed(environment: dict[str, str]) -> None:
    """Demo data has well-known passwords. It is created on the embedded server only, or on request."""
    if _has_demo_data(environment):
        _manage(["seed_demo"], environment)
    else:
        _say("DATABASE_URL is set: no demo data and no staff/staff; create the first account with `manage.py createsuperuser`")


@contextmanager
def _only_one() -> Iterator[None]:
    try:
        VAR_DIR.parent.mkdir(parents=True, exist_ok=True)
        own_folder(VAR_DIR, owners=[BASE_DIR.stat().st_uid])
        lock = (VAR_DIR / "up.lock").open("w")
    except OSError as error:
        raise StackError(f"{VAR_DIR} cannot be used ({error.strerror}); run `make clean` and try again") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StackError(f"a stack is already running on {VAR_DIR}; stop it with Ctrl-C first") from error
        yield


def is_running() -> bool:
    """Whether a stack is running on ``var/``."""
    try:
        with _only_one():
            return False
    except StackError:
        return True


def _environment(addresses: dict[str, str]) -> dict[str, str]:
    """The processes' environment. It is stored in ``var/stack.env`` for commands in other terminals."""
    remembered = _remembered()
    defaults = {
        "SECRET_KEY": secrets.token_hex(32),
        "SANDBOX_WEBHOOK_SECRET": secrets.token_hex(16),
        "FLOWER_BASIC_AUTH": f"operator:{secrets.token_hex(8)}",
    }
    module = {name: os.environ.get(name) or value for name, value in DEVELOPMENT.items()}
    kept = {name: os.environ.get(name) or remembered.get(name) or value for name, value in defaults.items()}
    named = {name: os.environ[name] for name in _NAMED if os.environ.get(name)}
    ports = _ports()
    values = module | kept | ports | named | addresses | _gateway(ports)
    write_secret(STACK_ENV_FILE, "".join(f"{name}={value}\n" for name, value in values.items()))
    return os.environ | values | {"PYTHONUNBUFFERED": "1", "PROMETHEUS_MULTIPROC_DIR": _metrics_folder()}


def _ports() -> dict[str, str]:
    """Drop the ports of the last run, which are not requested now."""
    ports = {name: os.environ.get(name) or default for name, default in _PORTS.items()}
    ports |= {name: os.environ.get(name) or str(free_port()) for name in _INNER_PORTS}
    for name, port in ports.items():
        _require_free(name, port)
    return ports


def _gateway(ports: dict[str, str]) -> dict[str, str]:
    """The gateway has the public port. The web process trusts only the gateway for client addresses."""
    directory = VAR_DIR.resolve() / "gateway"
    return {
        "WEB_URL": f"http://127.0.0.1:{ports['WEB_PORT']}",
        "OPERATOR_URL": f"http://127.0.0.1:{ports['OPERATOR_PORT']}",
        "GATEWAY_DIR": str(directory),
        "GATEWAY_ADMIN": str(_socket_of(directory)),
        "GATEWAY_OPERATOR_LISTEN": f"127.0.0.1:{ports['OPERATOR_PORT']}",
        "GATEWAY_LISTEN": f"127.0.0.1:{ports['WEB_PORT']}",
        "GATEWAY_WEB": f"127.0.0.1:{ports['APP_PORT']}",
        "GATEWAY_SIGNIN": f"127.0.0.1:{ports['SIGNIN_PORT']}",
        "GATEWAY_STAFF": f"127.0.0.1:{ports['STAFF_PORT']}",
        "GATEWAY_CANARY": f"127.0.0.1:{ports['CANARY_PORT']}",
        "GATEWAY_EDGE": f"127.0.0.1:{ports['EDGE_PORT']}",
        "GATEWAY_RATELIMIT": f"127.0.0.1:{ports['RATELIMIT_PORT']}",
        "TRUSTED_PROXIES": "127.0.0.1/32",
    }


def _socket_of(directory: Path) -> Path:
    """Path of Envoy's admin socket. A path that is too long for a socket is replaced by a shorter one."""
    path = directory / "admin.sock"
    return path if len(str(path)) < _LONGEST_SOCKET_PATH else Path(tempfile.mkdtemp(prefix="flashsale-")) / "admin.sock"


def _remembered() -> dict[str, str]:
    if not STACK_ENV_FILE.is_file():
        return {}
    lines = STACK_ENV_FILE.read_text(encoding="utf-8").splitlines()
    return {name: value for name, separator, value in (line.partition("=") for line in lines) if separator}


def _metrics_folder() -> str:
    folder = VAR_DIR / "metrics"
    folder.mkdir(exist_ok=True)
    for leftover in folder.glob("*.db"):
        leftover.unlink()
    return str(folder)


def _require_free(name: str, port: str) -> None:
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise StackError(f"{name}={port} is not a port number")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", int(port)))
        except OSError as error:
            raise StackError(
                f"port {port} is in use; stop the program that uses it or choose another port: {name}=... make up"
            ) from error


def _manage(arguments: Sequence[str], environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=BASE_DIR,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1]
        raise StackError(f"`manage.py {' '.join(arguments)}` failed: {last}")


def _run_processes(environment: dict[str, str], command: Sequence[str]) -> int:
    honcho.manager.KILL_WAIT = 13
    manager = honcho.manager.Manager()
    keep = f"{sys.executable} -m flashsale.stack keep --"
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    for name, line in parse_procfile((BASE_DIR / "Procfile").read_text(encoding="utf-8")).processes.items():
        own = environment | {"PATH": path, LAUNCHER_PID: str(os.getpid())}
        manager.add_process(name, f"exec {keep} sh -c 'exec {line}'", env=own, cwd=str(BASE_DIR))
    result: list[int] = []
    watcher = threading.Thread(target=_watch, args=(environment, command, result), daemon=True)
    watcher.start()
    manager.loop()
    if command:
        return result[0] if result else 1
    return 0 if manager.returncode in (0, 130, 143) else 1


def _watch(environment: dict[str, str], command: Sequence[str], result: list[int]) -> None:
    ready = _wait_until_ready(environment["OPERATOR_URL"])
    if ready:
        _say_addresses(environment)
    else:
        asked = f"{environment['OPERATOR_URL']}/health/ready"
        _say(f"the stack was not ready within {_READY_S:.0f} s; see the lines above and {asked}")
    if command:
        if ready:
            result.append(subprocess.run(list(command), cwd=BASE_DIR, env=environment, check=False).returncode)
        _end()


def _wait_until_ready(url: str) -> bool:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/health/ready", timeout=2) as answer:  # noqa: S310 - our own address
                if json.load(answer).get("ready"):
                    return True
        except (urllib.error.URLError, OSError, ValueError):
            pass
        time.sleep(0.3)
    return False


def _say_addresses(environment: dict[str, str]) -> None:
    url = environment["WEB_URL"]
    _say(
        "everything answers\n"
        f"  shop      {url}/{_who(environment, 'customer')}\n"
        f"  API       {url}/api/docs/\n"
        f"  admin     {url}/admin/{_who(environment, 'staff')}\n"
        f"  operators {environment['OPERATOR_URL']}/health/ready and /metrics\n"
        f"  Flower    http://127.0.0.1:{environment['FLOWER_PORT']}/   {environment['FLOWER_BASIC_AUTH']}\n"
        "  Ctrl-C stops everything; `make up` continues with the same data"
    )


def _who(environment: dict[str, str], name: str) -> str:
    return f"   {name} / {name}" if _has_demo_data(environment) else ""


def _say(text: str) -> None:
    sys.stdout.write(f"flashsale: {text}\n")
    sys.stdout.flush()
