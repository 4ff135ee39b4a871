"""Typed readers of the environment. Nothing outside ``flashsale.settings`` reads it."""

import os
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dj_database_url

from flashsale.settings.names import EMBEDDED_DATABASE_URL

BASE_DIR = Path(__file__).resolve().parent.parent.parent
VAR_DIR = Path(os.environ.get("FLASHSALE_VAR", BASE_DIR / "var"))
STACK_ENV_FILE = VAR_DIR / "stack.env"

_KNOWN_SECRETS = ("development-", "django-insecure-", "change-me", "changeme")  # how values begin that everybody can read


class MissingSetting(Exception):
    """An environment variable that has no default is not set, or holds what it may not hold."""


class InvalidSetting(MissingSetting):
    """An environment variable holds what it may not hold."""


# What an orchestrator hands over as files: NAME_FILE holds the path.
_IN_FILES = (
    "DATABASE_URL",
    "REDIS_URL",
    "CELERY_BROKER_URL",
    "RATELIMIT_REDIS_URL",
    "SECRET_KEY",
    "JWT_SIGNING_KEY",
    "FLOWER_BASIC_AUTH",
)


def _read_files(names: Iterable[str]) -> None:
    """Take secrets from the files that the environment names; a variable that is set itself comes first."""
    for name in names:
        path = os.environ.get(f"{name}_FILE")
        if not path or os.environ.get(name):
            continue
        try:
            os.environ[name] = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise MissingSetting(f"{name}_FILE={path} cannot be read: {error}") from error


_read_files(_IN_FILES)


def load_stack_env() -> None:
    """Take the addresses of the servers that ``make up`` started, unless the environment names its own."""
    for name, value in stack_env().items():
        if not os.environ.get(name):
            os.environ[name] = value


def stack_env() -> dict[str, str]:
    """What ``make up`` wrote down for commands in other terminals; empty where it has not run."""
    if not STACK_ENV_FILE.is_file():
        return {}
    lines = (line.partition("=") for line in STACK_ENV_FILE.read_text(encoding="utf-8").splitlines())
    return {name.strip(): value.strip() for name, separator, value in lines if separator}


def is_embedded(environment: Mapping[str, str]) -> bool:
    """Whether DATABASE_URL names the server that our stack started, whatever database of it."""
    ours, named = (
        urlsplit(environment.get(name, "")).netloc.rpartition("@")[2] for name in (EMBEDDED_DATABASE_URL, "DATABASE_URL")
    )
    return bool(ours) and ours == named


def text(name: str, default: str | None = None) -> str:
    """The variable's value; a variable that is empty counts as not set.

    Raises:
        MissingSetting: not set, and there is no default.
    """
    value = os.environ.get(name) or default
    if value is None:
        raise MissingSetting(f"{name} is not set. `make up` sets it; past one machine, see docs/configuration.md.")
    return value


def choice(name: str, default: str, *, of: Sequence[str]) -> str:
    """
    Raises:
        InvalidSetting: none of these.
    """
    value = text(name, default)
    if value not in of:
        raise InvalidSetting(f"{name}={value} is not one of {', '.join(of)}")
    return value


def integer(name: str, default: int, *, low: int, high: int) -> int:
    """A whole number from ``low`` to ``high``, both included.

    Raises:
        InvalidSetting: not one.
    """
    value = os.environ.get(name, "")
    wanted = f"{name} must be a whole number from {low} to {high}, not {value!r}"
    try:
        found = int(value) if value else default
    except ValueError as error:
        raise InvalidSetting(wanted) from error
    if not low <= found <= high:
        raise InvalidSetting(wanted)
    return found


def number(name: str, default: float, *, low: float, high: float) -> float:
    """A number from ``low`` to ``high``, both included.

    Raises:
        InvalidSetting: not one; NaN and infinity are none.
    """
    value = os.environ.get(name, "")
    wanted = f"{name} must be a number from {low:g} to {high:g}, not {value!r}"
    try:
        found = float(value) if value else default
    except ValueError as error:
        raise InvalidSetting(wanted) from error
    if not low <= found <= high:
        raise InvalidSetting(wanted)
    return found


def port(name: str, default: int) -> int:
    """
    Raises:
        InvalidSetting: not a port.
    """
    return integer(name, default, low=1, high=65535)


def secret(name: str, *, length: int, default: str | None = None) -> str:
    """A secret for production: long enough, and none that can be read in a repository.

    Args:
        length: the fewest characters.
        default: taken where the variable is not set; must be long enough as well.

    Raises:
        MissingSetting: not set, empty, or too easy to guess. The message does not show the value.
    """
    value = (os.environ[name] if name in os.environ else text(name, default)).strip()
    if not value:
        raise MissingSetting(f"{name} is empty. Make one: python3 -c 'import secrets; print(secrets.token_hex(32))'")
    if len(value) < length:
        raise InvalidSetting(f"{name} has {len(value)} characters; at least {length} are needed")
    if value.lower().startswith(_KNOWN_SECRETS):
        raise InvalidSetting(f"{name} is a development value that everybody can read; make one of your own")
    return value


def secrets(name: str, *, length: int) -> str:
    """Several secrets with commas between, each as :func:`secret` wants it.

    Raises:
        MissingSetting: not set, empty, or one too easy to guess.
    """
    value = secret(name, length=length)
    if any(len(part.strip()) < length or part.strip().lower().startswith(_KNOWN_SECRETS) for part in value.split(",")):
        raise InvalidSetting(f"{name}: each of its secrets must be your own and have at least {length} characters")
    return value


def options(prefix: str) -> dict[str, str]:
    """The variables whose names begin so, without that; ``<name>_FILE`` may hold the path of a file with the value.

    Raises:
        MissingSetting: a file cannot be read.
    """
    _read_files([name.removesuffix("_FILE") for name in os.environ if name.startswith(prefix) and name.endswith("_FILE")])
    return {name.removeprefix(prefix): value for name, value in os.environ.items() if name.startswith(prefix) and value}


def credentials(name: str, *, length: int) -> str:
    """``user:password``, the password of at least ``length`` characters; several pairs with commas between.

    Raises:
        MissingSetting: not set, empty, or a password too short.
    """
    value = text(name)
    pairs = [pair.partition(":") for pair in value.split(",")]
    if not all(user.strip() and len(password.strip()) >= length for user, _, password in pairs):
        raise InvalidSetting(f"{name} must be user:password, with a password of at least {length} characters")
    return value


def names(name: str, default: str = "") -> list[str]:
    """A comma-separated list."""
    return [part.strip() for part in os.environ.get(name, default).split(",") if part.strip()]


def networks(name: str, default: str = "") -> list[str]:
    """A comma-separated list of networks, as ``10.0.0.0/8``.

    Raises:
        InvalidSetting: not networks.
    """
    found = names(name, default)
    for part in found:
        try:
            ip_network(part, strict=False)
        except ValueError as error:
            raise InvalidSetting(f"{name} must be networks like 10.0.0.0/8 with commas between, not {part!r}") from error
    return found


def url(name: str, default: str | None = None, *, schemes: Sequence[str]) -> str:
    """
    Raises:
        MissingSetting: not set, and there is no default.
        InvalidSetting: another scheme. The message does not show the value: it may hold a password.
    """
    value = text(name, default)
    if value.partition("://")[0] not in schemes or "://" not in value:
        raise InvalidSetting(f"{name} must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    return value


def database(name: str, *, options: str) -> dict[str, Any]:
    """Django's settings of the database that the URL names; every option in the URL's query arrives at the server.

    Args:
        options: libpq's ``options``; those of the URL come behind them, so they win.

    Raises:
        MissingSetting: not set, or no URL of a PostgreSQL.
    """
    value = url(name, schemes=("postgresql", "postgres", "pgsql"))
    try:
        found: dict[str, Any] = dict(dj_database_url.parse(value, conn_max_age=600, conn_health_checks=True))
    except ValueError as error:
        raise InvalidSetting(f"{name} is no URL of a PostgreSQL database") from error
    given = found.get("OPTIONS", {})
    return found | {"OPTIONS": given | {"options": f"{options} {given.get('options', '')}".strip()}}


def address(name: str, default: str) -> tuple[str, int]:
    """A ``host:port``.

    Raises:
        InvalidSetting: not one.
    """
    return _address(name, os.environ.get(name, default))


def addresses(name: str, default: str) -> list[tuple[str, int]]:
    """A comma-separated list of ``host:port``, one at least.

    Raises:
        InvalidSetting: not one.
    """
    return [_address(name, part) for part in names(name, default) or [""]]


def _address(name: str, value: str) -> tuple[str, int]:
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or not port.isascii() or not 0 < int(port[:6]) < 65536:
        raise InvalidSetting(f"{name} must be host:port, not {value!r}")
    return host, int(port)
