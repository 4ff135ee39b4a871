"""Folders and secret files that no other user of the machine can have prepared."""

import os
import secrets
import stat
from collections.abc import Collection
from pathlib import Path

from flashsale.stack.errors import StackError

# Not from the settings: they take the stack's folder from the environment when they are first imported.
PROJECT = Path(__file__).resolve().parents[2]


def own_folder(path: Path, *, mode: int = 0o755, owners: Collection[int] = ()) -> Path:
    """Make ``path`` unless it is there; its parent must exist. May run twice.

    Args:
        mode: of a new folder, whatever the umask.
        owners: user ids that may own it beside ours.

    Raises:
        StackError: it is a symbolic link, no folder, belongs to another user, or everybody may write to it.
    """
    try:
        path.mkdir(mode=mode)
        path.chmod(mode)
    except FileExistsError:
        pass
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise StackError(f"{path} is not a folder (symbolic links are refused here); remove it and try again")
    if found.st_uid not in {os.geteuid(), *owners}:
        raise StackError(f"{path} belongs to the user {found.st_uid}, who may have prepared it; remove it and try again")
    if found.st_mode & stat.S_IWOTH:
        raise StackError(f"everybody may write to {path}; run `chmod o-w {path}` if you trust what is in it")
    return path


def take_over(former: Path, path: Path) -> None:
    """Move a folder of ours to a better place, unless there is one already; what another user made is left alone.

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
        raise StackError(f"move the data of the stack yourself: mv {former} {path} ({error.strerror})") from error


def write_secret(path: Path, text: str, *, owner: int | None = None) -> None:
    """Write a file that only its owner can read. A symbolic link is never followed. May run twice.

    Args:
        owner: user id that gets the file; ours where it is None.

    Raises:
        StackError: something that is no plain file of ours has that name.
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
    """The text of a file made by :func:`write_secret`; None where there is none.

    Args:
        owner: user id that the file may belong to beside ours.

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
    """The secret in ``path``, made up where there is none yet."""
    found = read_secret(path, owner=owner)
    if not found:
        found = secrets.token_hex(24)
        write_secret(path, found, owner=owner)
    return found


def _require_plain(path: Path, handle: int, owner: int | None) -> None:
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or found.st_uid not in {os.geteuid(), owner}:
        raise StackError(f"{path} is no plain file of ours; another user may have prepared it. Remove it and try again")
