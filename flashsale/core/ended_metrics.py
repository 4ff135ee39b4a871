"""Keeps what processes that have ended had counted, without keeping a file for each of them.

prometheus_client writes files per process and never removes those of counters and histograms: a folder would grow by some files
with each worker that is replaced, and each scrape would read them all.
"""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prometheus_client.mmap_dict import MmapedDict

_OF_A_PROCESS = re.compile(r"(?P<kind>counter|histogram|summary)_(?P<pid>\d+)\.db")

_File: Any = MmapedDict  # which has no types


@contextmanager
def folded(folder: Path) -> Iterator[None]:
    """Within the block no other process folds the folder's files; before it, those of ended processes are added up in one.

    Where another process is at it, nothing is folded and nobody waits.
    """
    with (folder / "fold.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield
            return
        for path in sorted(folder.glob("*.db")):
            match = _OF_A_PROCESS.fullmatch(path.name)
            if match and not _is_alive(int(match["pid"])):
                _fold(path, folder / f"{match['kind']}_ended.db")
        yield


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _fold(path: Path, total: Path) -> None:
    taken = path.rename(path.with_suffix(".folding"))  # first: a crash may lose counts of the dead, never count them twice
    sums = _File(str(total))
    try:
        for key, value, timestamp, _ in _File.read_all_values_from_file(str(taken)):
            sums.write_value(key, sums.read_value(key)[0] + value, timestamp)
    finally:
        sums.close()
    taken.unlink()
