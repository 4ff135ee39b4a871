"""Users of an embedded Valkey. Their permissions are in ``deploy/valkey``, their passwords beside the data."""

import hashlib
from pathlib import Path
from string import Template

from flashsale.stack.places import PROJECT, kept_secret, write_secret

APP, ADMIN = "flashsale", "admin"
_PLACES = {"APP": APP, "ADMIN": ADMIN}
_SOURCES = PROJECT / "deploy" / "valkey"


class Users:
    """Users of one server. Their passwords are generated once and stored in files that only the owner can read."""

    def __init__(self, folder: Path, name: str) -> None:
        """
        Args:
            folder: folder for the files.
            name: name of the server, ``gate`` or ``broker``.
        """
        self._folder = folder
        self._name = name

    def password(self, user: str) -> str:
        """The user's password.

        Raises:
            StackError: another user of the machine has created a file at its path.
        """
        return kept_secret(self._folder / f"{self._name}.{user}.password")

    def write(self) -> Path:
        """Write the server's ACL file, which holds hashes only, and return its path. May run twice.

        Raises:
            StackError: as for the password.
        """
        hashes = {place: hashlib.sha256(self.password(user).encode()).hexdigest() for place, user in _PLACES.items()}
        path = self._folder / f"{self._name}.acl"
        write_secret(path, Template((_SOURCES / path.name).read_text(encoding="utf-8")).substitute(hashes))
        return path
