"""Typed readers of the environment. Nothing outside ``flashsale.settings`` reads it."""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent.parent
VAR_DIR = Path(os.environ.get("FLASHSALE_VAR", BASE_DIR / "var"))
STACK_ENV_FILE = VAR_DIR / "stack.env"


class MissingSetting(Exception):
    """An environment variable that has no default is not set."""


def load_stack_env() -> None:
    """Take the addresses of the servers that ``make up`` started, unless the environment names its own."""
    if not STACK_ENV_FILE.is_file():
        return
    for line in STACK_ENV_FILE.read_text(encoding="utf-8").splitlines():
        name, separator, value = line.partition("=")
        if separator:
            os.environ.setdefault(name.strip(), value.strip())


def text(name: str, default: str | None = None) -> str:
    """
    Raises:
        MissingSetting: not set, and there is no default.
    """
    value = os.environ.get(name, default)
    if value is None:
        raise MissingSetting(f"{name} is not set. `make up` sets it; past one machine, see the README's table.")
    return value


def integer(name: str, default: int) -> int:
    """
    Raises:
        MissingSetting: not a whole number.
    """
    value = os.environ.get(name, "")
    try:
        return int(value) if value else default
    except ValueError as error:
        raise MissingSetting(f"{name} must be a whole number, not {value!r}") from error


def number(name: str, default: float) -> float:
    """
    Raises:
        MissingSetting: not a number.
    """
    value = os.environ.get(name, "")
    try:
        return float(value) if value else default
    except ValueError as error:
        raise MissingSetting(f"{name} must be a number, not {value!r}") from error


def names(name: str, default: str = "") -> list[str]:
    """A comma-separated list."""
    return [part.strip() for part in os.environ.get(name, default).split(",") if part.strip()]


def address(name: str, default: str) -> tuple[str, int]:
    """A ``host:port``.

    Raises:
        MissingSetting: not one.
    """
    return _address(name, os.environ.get(name, default))


def addresses(name: str, default: str) -> list[tuple[str, int]]:
    """A comma-separated list of ``host:port``, at least one.

    Raises:
        MissingSetting: not that.
    """
    return [_address(name, text) for text in names(name, default) or [""]]


def _address(name: str, text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise MissingSetting(f"{name} must be host:port, not {text!r}")
    return host, int(port)
