"""Create folders and secret files safely on a machine with other users."""

import os
import secrets
import stat
from collections.abc import Collection
from pathlib import Path

from flashsale.stack.errors import StackError

# The settings are not imported, because they read the stack's folder from the environment at import.
PROJECT = Path(__file__).resolve().parents[2]


def own_folder(path: Path, *, mode: int = 0o755, owners: Collection[int] = ()) -> Path:
    """Create the folder ``path`` if missing. Its parent must exist. May run twice.

    Args:
        mode: permissions of a new folder, independent of the umask.
        owners: user ids that may own it, besides ours.

    Raises:
        StackError: it is a symbolic link, not a folder, owned by another user, or writable by everybody.
    """
    try:
        path.mkdir(mode=mode)
        path.chmod(mode)
    except FileExistsError:
        pass
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise StackError(f"{path} is not a folder (symbolic links are not allowed); remove it and try again")
    if found.st_uid not in {os.geteuid(), *owners}:
        raise StackError(f"{path} belongs to the user {found.st_uid}, who may have prepared it; remove it and try again")
    if found.st_mode & stat.S_IWOTH:
        raise StackError(f"everybody may write to {path}; run `chmod o-w {path}` if you trust what is in it")
    return path


def take_over(former: Path, path: Path) -> None:
    """Move one of our folders to a new path, unless that exists. Another user's folder is not moved.

    Raises:
        StackError: it is on another file system.
    """
    if os.path.lexists(path) or not os.path.lexists(former):
        return
    found = former.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return
    try:
        former.rename(path)
    except OSError as error:
        raise StackError(f"cannot move the stack's data ({error.strerror}); move it yourself: mv {former} {path}") from error


def write_secret(path: Path, text: str, *, owner: int | None = None) -> None:
    """Write a file that only its owner can read. A symbolic link is never followed. May run twice.

    Args:
        owner: user id of the new owner. None means our own.

    Raises:
        StackError: the path is not a regular file of ours.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as error:
        raise StackError(f"{path} cannot be written ({error.strerror}); remove it and try again") from error
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        _require_plain(path, handle, owner)
        os.ftruncate(handle, 0)
        os.fchmod(handle, 0o600)
        if owner is not None:
            os.fchown(handle, owner, owner)
        file.write(text)


def read_secret(path: Path, *, owner: int | None = None) -> str | None:
    """Read a file written by :func:`write_secret`. Returns None if it does not exist.

    Args:
        owner: user id that may own the file, besides ours.

    Raises:
        StackError: it is a symbolic link or belongs to another user.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StackError(f"{path} cannot be read ({error.strerror}); remove it and try again") from error
    with os.fdopen(handle, encoding="utf-8") as file:
        _require_plain(path, handle, owner)
        return file.read().strip()


def kept_secret(path: Path, *, owner: int | None = None) -> str:
    """The secret in ``path``. A new one is generated if the file is missing."""
    found = read_secret(path, owner=owner)
    if not found:
        found = secrets.token_hex(24)
        write_secret(path, found, owner=owner)
    return found


def _require_plain(path: Path, handle: int, owner: int | None) -> None:
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or found.st_uid not in {os.geteuid(), owner}:
        raise StackError(f"{path} is not a regular file of ours; another user may have prepared it. Remove it and try again")
