"""A small disk of its own for a server's data, to be filled."""

import contextlib
import subprocess
from pathlib import Path

_CHUNK = bytes(1 << 20)


class SmallDisk:
    """A tmpfs at ``folder``; ``is_mounted`` is False where mounting is not permitted, and then it cannot be filled."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, check=False)
        self.is_mounted = done.returncode == 0
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Leave not a byte free."""
        with self._ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(_CHUNK)

    def empty(self) -> None:
        """Give the room back."""
        self._ballast.unlink(missing_ok=True)

    def unmount(self) -> None:
        """The data goes with it."""
        if self.is_mounted:
            subprocess.run(["umount", "-l", str(self.folder)], check=False)
            self.is_mounted = False
