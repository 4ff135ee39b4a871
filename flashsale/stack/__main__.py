"""``python -m flashsale.stack up | with -- COMMAND | servers -- COMMAND | keep -- COMMAND | gateway -- FILE PORT | clean``."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from flashsale.settings.env import BASE_DIR, VAR_DIR
from flashsale.stack.embedded import DEVELOPMENT, Embedded
from flashsale.stack.errors import StackError
from flashsale.stack.gateway import gateway
from flashsale.stack.keep import keep


def main(arguments: Sequence[str]) -> int:
    """
    up: run the whole stack until Ctrl-C.  with: run a command beside the whole stack; uses a running stack if there is one.
    servers: run a command beside new servers in a temporary folder. It may empty them.
    keep: run a command and restart it when it dies.  gateway: run Envoy.  clean: remove the embedded servers' data.
    """
    verb, command = arguments[0] if arguments else "up", list(arguments[2:])
    try:
        return _VERBS[verb](command)
    except KeyError:
        sys.stderr.write(f"{main.__doc__}\n")
        return 2
    except StackError as error:
        sys.stderr.write(f"flashsale: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _up(_command: Sequence[str]) -> int:
    from flashsale.stack import launcher

    return launcher.up()


def _with(command: Sequence[str]) -> int:
    from flashsale.stack import launcher

    if launcher.is_running():
        return subprocess.run(command, cwd=BASE_DIR, check=False).returncode
    return launcher.up(command)


def _servers(command: Sequence[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="flashsale-") as home:
        Path(home).chmod(0o755)
        servers = Embedded(Path(home), {})
        with servers:
            own = {"FLASHSALE_VAR": home, "FLOWER_BASIC_AUTH": "operator:local"}
            environment = DEVELOPMENT | os.environ | servers.test_addresses | own
            return subprocess.run(command, cwd=BASE_DIR, env=environment, check=False).returncode


def _clean(_command: Sequence[str]) -> int:
    outside = Embedded(VAR_DIR).outside_home
    for folder in (VAR_DIR, outside):
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


_VERBS = {"up": _up, "with": _with, "servers": _servers, "keep": keep, "gateway": gateway, "clean": _clean}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
